"""`make bench`: time optimlab and its peers, side by side, and write tables and a figure.

It fails where a step is slower than `benchmarks.steps.MOST_OF_JAX` allows, so that CI notices.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import before, figure, memory, startup, steps, sweep
from optimlab.files import Folder
from optimlab.storage.environment import environment


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument(
        "--quick", action="store_true", help="Adam only, fewer turns, a small sweep: whether it runs"
    )
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="another checkout, to take turns with"
    )
    options = parser.parse_args()
    begun = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    folder = Folder(options.results).folder("bench")
    folder.create()
    folder.refuse_links()
    _, missing = steps.installed()
    for line in missing:
        print(f"skipped: {line}", file=sys.stderr)
    rows = steps.measure(quick=options.quick, tell=tell)
    folder.write("steps.csv", rows.to_csv(index=False).encode())
    seconds = sweep.measure(rows, quick=options.quick, tell=tell)
    folder.write("sweep.csv", seconds.to_csv(index=False).encode())
    figure.draw(rows, folder)
    in_turn = []
    if options.before:
        in_turn = [before.report(options.before.resolve(), quick=options.quick, tell=tell)]
    tell("start-up and memory")
    machine = environment()
    about = ", ".join(f"{key} {machine[key]}" for key in ("cpu", "cores", "python", "numpy", "blas"))
    sections = [
        "# Benchmarks" + (" (quick: only to see that they run)" if options.quick else ""),
        f"{machine['date']}, commit {machine['commit']}: {about}.",
        *(f"Skipped: {line}." for line in missing),
        steps.report(rows),
        "![µs per run and step, by contender and batch size](steps.png)",
        sweep.report(seconds, rows),
        *in_turn,
        startup.report(quick=options.quick),
        memory.report(quick=options.quick),
    ]
    text = "\n\n".join(sections)
    print(text)
    folder.write("benchmarks.md", f"{text}\n".encode())
    if slow := steps.too_slow(rows):
        sys.exit("\n".join(slow))


if __name__ == "__main__":  # and not in the processes that it starts
    main()
