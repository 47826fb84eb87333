"""`make bench`: print the benchmarks' tables and write them to results/bench/."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import memory, steps
from optimlab.environment import environment


def main() -> None:
    """Run the benchmarks that are asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description="Time a step, weigh a sweep.")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller sweeps")
    options = parser.parse_args()

    machine = environment()
    about = ", ".join(f"{key} {machine[key]}" for key in ("cpu", "cores", "python", "numpy", "blas"))
    report = "\n\n".join(
        [
            f"# Benchmarks\n\n{machine['date']}, commit {machine['commit']}: {about}.",
            steps.report(quick=options.quick),
            memory.report(quick=options.quick),
        ]
    )
    print(report)
    folder = options.results / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(report + "\n", encoding="utf-8")


main()
