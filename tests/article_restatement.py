"""Restates every run of the article's experiment in plain numpy and compares the recorded losses.

Run it after ``make sweep EXPERIMENT=article``, in the project's folder:
``.venv/bin/python tests/article_restatement.py``. It takes half a minute a seed.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from reference import article

from optimlab.experiment.load import load
from optimlab.nn import one_hot


def main(results="results"):
    """Print, for each seed, the largest relative difference over the recorded steps."""
    experiment = load(Path("experiments/article.toml"))
    traces = pd.read_parquet(Path(results) / "article" / "traces.parquet")
    (setting,) = experiment.problems
    problem = setting.problem
    images, labels = problem.parts["train"]
    for seed, recorded in traces.groupby("seed"):
        params = problem.init([seed])[0][0]
        weights = article.weights_of(problem.network.layout, params)
        losses = np.asarray(article.train(weights, images, one_hot(labels, 10), setting.steps + 1))
        ours = recorded["train_binary_loss_sum"].to_numpy()
        print(seed, f"{np.abs(ours / losses[recorded['step']] - 1).max():.1e}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
