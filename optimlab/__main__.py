"""`python -m optimlab` is the `optimlab` command."""

import os
import sys

import optimlab

# Python looks in the working directory first, where a folder seaborn/ would hide the library.
if sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(optimlab.__file__)):  # noqa: PTH109, PTH120
    sys.path.append(sys.path.pop(0))

from optimlab.cli import main  # what it imports is looked for in that order

main()
