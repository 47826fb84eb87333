"""The problems: what is optimized, by the name that an experiment gives it."""

from optimlab.problems.digits import Digits
from optimlab.problems.landscapes import Landscape

PROBLEMS = {"digits": Digits, "landscape": Landscape}

__all__ = ["PROBLEMS", "Digits", "Landscape"]
