"""Step costs of the optimizers, and warnings about stacks that were trained run by run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import astuple, fields

import numpy as np

from optimlab.experiment.runs import FinishedStack
from optimlab.messages import warn
from optimlab.storage.manifest import Manifest, StepCost
from optimlab.training import Cost


class Costs:
    """The cost of a step of each optimizer on each problem, measured on runs that were trained alone."""

    def __init__(self) -> None:
        self.measured: dict[tuple[str, str], list[Cost]] = defaultdict(list)
        self.warned: set[tuple[str, str]] = set()

    def add(self, stack: FinishedStack, problem: str, optimizer: str) -> None:
        """Note a stack's cost; warn once per problem and optimizer of a stack trained run by run."""
        key = problem, optimizer
        if stack.cost:
            self.measured[key].append(stack.cost)
        survived = any(run.status != "failed" for run in stack.runs)
        if stack.fell_back and survived and key not in self.warned:
            self.warned.add(key)
            warn(
                f"{optimizer} on {problem}: a stack failed, {stack.fell_back}; "
                "its runs were trained one by one, which is slower"
            )

    def added_to(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the medians of the measured costs added to its own."""
        costs = {problem: dict(optimizers) for problem, optimizers in manifest.costs.items()}
        names = [field.name for field in fields(Cost)]
        for (problem, optimizer), measured in self.measured.items():
            medians = np.median([astuple(cost) for cost in measured], axis=0)
            cost = StepCost(**dict(zip(names, map(float, medians), strict=True)))
            costs.setdefault(problem, {})[optimizer] = cost
        return manifest.model_copy(update={"costs": costs})
