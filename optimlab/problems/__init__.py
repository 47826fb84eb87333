"""The problems: what is optimized, by the name that an experiment gives it."""

from optimlab.problems.digits import Digits

PROBLEMS = {"digits": Digits}

__all__ = ["PROBLEMS", "Digits"]
