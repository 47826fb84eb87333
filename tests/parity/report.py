"""Prints how far optimlab is from each library: the table of ``make parity``.

Run ``python tests/parity/report.py`` with PyTorch and optax installed; Keras is left out where it is
not. It ends with status 1 when a difference is above 1e-9.
"""

from __future__ import annotations

import sys

from libraries import LIBRARIES, is_installed, rule_difference, versions
from networks import (
    CLASSIFIER_ACTIVATIONS,
    CLASSIFIER_RULES,
    TRAININGS,
    pytorch_difference,
    scikit_learn_difference,
)
from trajectories import CASES, record_network_gradients, roads

LIMIT = 1e-9


def rule_differences() -> dict[str, dict[str, float]]:
    """Return rule → library → the largest difference in parameters, over three roads of 200 steps."""
    all_roads = roads(record_network_gradients())
    table: dict[str, dict[str, float]] = {case.rule: {} for case in CASES}
    for case in filter(lambda case: is_installed(case.library), CASES):
        table[case.rule][case.library] = rule_difference(case, all_roads)
    return table


def network_differences() -> dict[str, dict[str, float]]:
    """Return rule → network → the largest difference in 200 losses."""
    table = {
        rule: {
            "PyTorch": pytorch_difference(rule, hyperparameters, bias=False),
            "PyTorch, bias": pytorch_difference(rule, hyperparameters, bias=True),
        }
        for rule, hyperparameters in TRAININGS.items()
    }
    for rule in CLASSIFIER_RULES:
        for activation in CLASSIFIER_ACTIVATIONS:
            table[rule][f"sklearn, {activation}"] = scikit_learn_difference(rule, activation)
    return table


def as_text(table: dict[str, dict[str, float]], columns: list[str]) -> str:
    """Return a table with a line a rule."""
    width = max(map(len, table)) + 1
    lines = [f"{'':<{width}}" + "".join(f"{column:>18}" for column in columns)]
    for rule, row in table.items():
        cells = (f"{row[column]:.1e}" if column in row else "–" for column in columns)
        lines.append(f"{rule:<{width}}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    rules, networks = rule_differences(), network_differences()
    largest = max(
        value for table in (rules, networks) for row in table.values() for value in row.values()
    )
    classifiers = [f"sklearn, {name}" for name in CLASSIFIER_ACTIVATIONS]
    sections = [
        ", ".join(f"{package} {number}" for package, number in versions().items()),
        "Largest difference in parameters, 200 steps:",
        as_text(rules, list(LIBRARIES)),
        "Largest difference in losses, 200 steps on the digits:",
        as_text(networks, ["PyTorch", "PyTorch, bias", *classifiers]),
        f"The largest is {largest:.1e}; allowed is {LIMIT:g}.",
    ]
    print("\n\n".join(sections))
    return 0 if largest <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
