"""The problems, by the name that an experiment gives them."""

from optimlab.problems.digits import Digits
from optimlab.problems.landscapes import Landscape
from optimlab.problems.tables import Table

PROBLEMS = {"digits": Digits, "landscape": Landscape, "table": Table}

__all__ = ["PROBLEMS", "Digits", "Landscape", "Table"]
