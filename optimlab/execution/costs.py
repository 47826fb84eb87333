"""What a sweep hears of its stacks beside their numbers: costs, and which fell back to single runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import astuple, fields

import numpy as np

from optimlab.experiment.runs import FinishedStack
from optimlab.messages import warn
from optimlab.storage.manifest import Manifest, StepCost
from optimlab.training import Cost


class Costs:
    """The cost of a step of each optimizer on each problem, of runs that were trained alone."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str], list[Cost]] = defaultdict(list)
        self.told: set[tuple[str, str]] = set()

    def look_at(self, stack: FinishedStack, problem: str, optimizer: str) -> None:
        """Note what a stack cost; say once for each optimizer that one was trained run by run."""
        whose = problem, optimizer
        if stack.cost:
            self.heard[whose].append(stack.cost)
        survived = any(run.status != "failed" for run in stack.runs)
        if stack.fell_back and survived and whose not in self.told:
            self.told.add(whose)
            warn(
                f"{optimizer} on {problem}: a stack raised {stack.fell_back}; "
                "its runs were trained one by one, which is slower"
            )

    def added_to(self, manifest: Manifest) -> Manifest:
        """Return a manifest with the median of what was heard, beside what it knows."""
        costs = {problem: dict(optimizers) for problem, optimizers in manifest.costs.items()}
        names = [field.name for field in fields(Cost)]
        for (problem, optimizer), heard in self.heard.items():
            medians = np.median([astuple(cost) for cost in heard], axis=0)
            found = StepCost(**dict(zip(names, map(float, medians), strict=True)))
            costs.setdefault(problem, {})[optimizer] = found
        return manifest.model_copy(update={"costs": costs})
