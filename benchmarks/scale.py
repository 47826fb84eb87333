"""`python -m benchmarks.scale`: 100,000 tiny trainings: memory of the driver, disk, and times.

Not a part of `make bench`: it takes many minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import EXPERIMENT

CONFIGURATIONS = 55  # five optimizers at eleven learning rates


def main() -> None:
    """Sweep, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the results here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "many.toml"
    seeds = -(-options.runs // CONFIGURATIONS)
    file.write_text(EXPERIMENT.format(seeds=seeds), encoding="utf-8")
    words = [str(file), "--results", str(folder / "results")]
    jobs = ["--jobs", str(options.jobs)]
    for name, command in {
        "dry run": ["sweep", *words, *jobs, "--dry-run"],
        "sweep": ["sweep", *words, *jobs],
        "sweep again": ["sweep", *words, *jobs],
        "show": ["show", *words],
        "verify": ["verify", *words, *jobs, "--runs", "200"],
        "plots": ["plots", *words[1:]],
    }.items():
        _measure(name, command)
    results = folder / "results"
    for path in [results / "report.html", *sorted((results / "many").glob("*.*"))]:
        print(f"{path.relative_to(folder)}: {path.stat().st_size / 1e6:,.1f} MB")
    parts = list(results.glob("many/parts/*.parquet"))
    print(f"{len(parts):,} parts: {sum(path.stat().st_size for path in parts) / 1e6:,.1f} MB")


def _measure(name: str, command: list[str]) -> None:
    """Run a command; print its time, its last lines, and its resident memory on the way (Linux)."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "optimlab", *command], stdout=subprocess.PIPE, text=True
    )
    memory = []
    while process.poll() is None:
        time.sleep(0.2)
        memory.append(_resident(process.pid))
    output = process.stdout.read().splitlines() if process.stdout else []
    seconds = time.monotonic() - start
    tenths = [memory[len(memory) * tenth // 10] for tenth in range(10)]
    peak = max(memory)
    print(f"{name}: {seconds:.1f} s, exit {process.returncode}, MiB on the way {tenths}, peak {peak}")
    print("\n".join(f"    {line}" for line in output[-3:]), flush=True)


def _resident(pid: int) -> int:
    """Return the resident memory of a process in MiB, 0 where that is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024 if "VmRSS:" in status else 0


if __name__ == "__main__":
    main()
