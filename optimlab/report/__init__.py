"""The page: results/report.html, one file that works offline."""

import logging
from contextlib import chdir, nullcontext
from os.path import lexists
from pathlib import Path

# When matplotlib is first imported, it reads a matplotlibrc in the current folder. A stranger's may be a
# pipe that never ends, or no text; and figures use matplotlib's own defaults.
with chdir(Path(__file__).parent) if lexists("matplotlibrc") else nullcontext():
    _log = logging.getLogger("matplotlib")
    _before = _log.level
    _log.setLevel(logging.ERROR)  # without a home it uses a temporary cache folder, and warns of it
    import matplotlib

    matplotlib.get_cachedir()
    _log.setLevel(_before)
