"""Logarithmic axes, on the page and in print: several round ticks in any range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import Formatter, Locator, MaxNLocator

from optimlab.formatting import numbers

ROUNDING = 1e-12  # a loss this little below 0 counts as 0
FEWEST_TICKS = 3
DENSE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # about evenly spaced in logarithm
MOST_TICKS = 10
LONG = 3e3  # ratio of a range's ends above which powers of ten are enough
LONG_IN_PRINT = 150.0  # the same in print, where panels are small and have minor ticks


def log_ticks(low: float, high: float, long: float = LONG) -> list[float]:
    """Return ticks of a logarithmic axis: powers of ten if it is long, round numbers if it is short."""
    powers, some, many = (round_ticks(low, high, digits) for digits in ((1,), (1, 2, 5), DENSE))
    if len(powers) >= FEWEST_TICKS and (high > long * low or len(some) > MOST_TICKS):
        return powers[:: -(-len(powers) // MOST_TICKS)]
    for ticks in (some, many):
        if len(ticks) >= FEWEST_TICKS:
            return ticks
    return [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def round_ticks(low: float, high: float, digits: Sequence[float] = (1, 2, 5)) -> list[float]:
    """Return the numbers 1, 2, 5, 10, … times powers of ten between two positive ends."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


class Alike(Formatter):
    """Writes all numbers of an axis in one notation."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the texts of all ticks."""
        return numbers(values)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the text of one number."""
        return numbers([x])[0]


class LogTicks(Locator):
    """Puts `log_ticks` on an axis of a figure, over its view interval."""

    def __call__(self) -> list[float]:
        """Return the ticks of the axis's current view."""
        low, high = sorted(self.axis.get_view_interval())  # type: ignore[union-attr]
        return log_ticks(low, high, LONG_IN_PRINT)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks between two ends."""
        return log_ticks(vmin, vmax, LONG_IN_PRINT)
