"""The page: results/report.html, one file that works offline."""

from contextlib import chdir, nullcontext
from os.path import lexists
from pathlib import Path

# When matplotlib is first imported, it reads a matplotlibrc in the current folder. A stranger's may be a
# pipe that never ends, or no text; and figures use matplotlib's own defaults.
with chdir(Path(__file__).parent) if lexists("matplotlibrc") else nullcontext():
    import matplotlib  # noqa: F401
