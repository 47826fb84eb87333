"""The shipped experiments in small: the same files with few seeds and short trainings."""

import re
import shutil

from sweeping import EXPERIMENTS, run

from optimlab.experiment.load import load

SMALLER = {
    r"(?m)^learning_rates = \[[^]\n]*,[^]\n]*,[^]\n]*\]": "learning_rates = [0.1, 0.3, 1.0]",
    r"epochs = \d+": "epochs = 2",
    r"steps = (5000|300)": "steps = 4",
    r"record_every = \d\d+": "record_every = 1",
    r"steps = 100\nrecord_every = 1": "steps = 100\nrecord_every = 10",
    r"trials = \d+": "trials = 4",
    r"tuning = [1-9]\d*": "tuning = 1",
    r"reporting = \d+": "reporting = 2",
    r"hidden = \[\n.*?\n\]": 'hidden = [{ units = 4, activation = "relu" }]',
}


def sweep_shipped(folder, results):
    """Run every shipped experiment in small."""
    shutil.copytree(EXPERIMENTS, folder)
    for file in sorted(folder.glob("*.toml")):
        text = file.read_text(encoding="utf-8")
        for pattern, smaller in SMALLER.items():
            text = re.sub(pattern, smaller, text, flags=re.DOTALL)
        file.write_text(text, encoding="utf-8")
        run(load(file), results)
