"""Schedules: hyper-parameters as functions of a run's progress.

A schedule gives each step a factor that multiplies the hyper-parameter:

>>> [round(Cosine(warmup=0.4).factor(step, 10), 2) for step in range(1, 11)]
[0.2, 0.4, 0.6, 0.8, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07]

Of N steps, the first W = warmup · N are the warm-up: step k has the factor k / (W + 1), so that no step
has the factor 0. Step W + 1 is the first with the factor 1; from there the schedule approaches
``final``, which a step N + 1 would reach. The last step is thus one short of it, as in PyTorch
(``CosineAnnealingLR`` with T_max = N − W) and optax (``cosine_decay_schedule`` with decay_steps =
N − W).

A rule never sees a schedule: `Scheduled` makes a new rule at each step, from the values of that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Protocol, SupportsFloat

from annotated_types import Ge, Gt, Le, Len, Lt

from optimlab.validation import Checked, kind_of

Share = Annotated[float, Ge(0), Lt(1)]
Final = Annotated[float, Ge(0), Le(1e6)]
PositiveFinal = Annotated[float, Gt(0), Le(1e6)]


class Schedule(Protocol):
    """Gives each step its factor."""

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step 1, 2, … of `steps`."""


@dataclass(frozen=True, kw_only=True)
class WithWarmup(Checked):
    """Base of the built-in schedules: a linear warm-up from nearly 0 to 1.

    Attributes
    ----------
    warmup : the share of the run that is the warm-up, in [0, 1).
    """

    warmup: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := self.wrong():
            raise ValueError(wrong)

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step 1, 2, … of `steps`."""
        warm = round(self.warmup * steps)
        if step <= warm:
            return step / (warm + 1)
        return self.after((step - 1) / steps, warm / steps)

    def after(self, progress: float, warm: float) -> float:
        """Return the factor at a share `progress` of the run, of which `warm` was the warm-up."""
        raise NotImplementedError

    def wrong(self) -> str:
        """Return what is inconsistent between the settings; "" if nothing is."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Constant(WithWarmup):
    """Constant: 1, after the warm-up."""

    def after(self, progress: float, warm: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Linear(WithWarmup):
    """Linear: 1 − (1 − final) q, where q goes from 0 to 1 after the warm-up.

    Attributes
    ----------
    final : the factor at the end; above 1 for a value that grows.
    """

    final: Final = 0.0

    def after(self, progress: float, warm: float) -> float:
        return 1 - (1 - self.final) * (progress - warm) / (1 - warm)


@dataclass(frozen=True, kw_only=True)
class Cosine(WithWarmup):
    """Cosine: final + (1 − final) (1 + cos π q) / 2, where q goes from 0 to 1 after the warm-up.

    Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts, equation 5.

    Attributes
    ----------
    final : the factor at the end; above 1 for a value that grows.
    """

    final: Final = 0.0

    def after(self, progress: float, warm: float) -> float:
        done = (progress - warm) / (1 - warm)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, kw_only=True)
class Step(WithWarmup):
    """Step: drops by the same factor at several points of the run, down to `final`.

    He et al. (2016), Deep residual learning for image recognition, section 4.2.

    Attributes
    ----------
    final : the factor after the last drop.
    at : the shares of the run at which it drops, ascending.
    """

    final: PositiveFinal = 0.01
    at: Annotated[tuple[Annotated[float, Gt(0), Lt(1)], ...], Len(1, 1000)] = (0.5, 0.75)

    def after(self, progress: float, warm: float) -> float:
        drops = sum(progress >= moment for moment in self.at)
        return self.final ** (drops / len(self.at))

    def wrong(self) -> str:
        if list(self.at) != sorted(set(self.at)):
            return "at must ascend"
        return "at must come after the warm-up" if self.at[0] <= self.warmup else ""


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(WithWarmup):
    """Inverse square root: 1 / √(1 + (final⁻² − 1) q), where q goes from 0 to 1 after the warm-up.

    With final = √warmup it is √(W / t), the schedule of Vaswani et al. (2017), Attention is all you
    need, section 5.3.

    Attributes
    ----------
    final : the factor at the end.
    """

    final: PositiveFinal = 0.1

    def after(self, progress: float, warm: float) -> float:
        return 1 / math.sqrt(1 + (self.final**-2 - 1) * (progress - warm) / (1 - warm))


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay(WithWarmup):
    """Warm-up, stable, decay: 1 until the last part of the run, where it falls linearly.

    Hu et al. (2024), MiniCPM: unveiling the potential of small language models with scalable training
    strategies, section 4.

    Attributes
    ----------
    final : the factor at the end.
    decay : the share of the run, at its end, in which it falls.
    """

    warmup: Share = 0.05
    final: Final = 0.0
    decay: Annotated[float, Gt(0), Le(1)] = 0.2

    def after(self, progress: float, warm: float) -> float:
        done = max(0.0, (progress - (1 - self.decay)) / self.decay)
        return 1 - (1 - self.final) * done

    def wrong(self) -> str:
        return "warmup and decay must be at most 1 in all" if self.warmup + self.decay > 1 else ""


SCHEDULES: dict[str, type[WithWarmup]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "step": Step,
    "inverse_sqrt": InverseSqrt,
    "warmup_stable_decay": WarmupStableDecay,
}
NAMES = {kind: name for name, kind in SCHEDULES.items()}


@dataclass(frozen=True)
class OfFunction:
    """A schedule by a plug-in function: completed share of the run → factor.

    Step k of N calls it with (k − 1) / N: the first with 0, and none with 1.
    """

    function: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step 1, 2, … of `steps`."""
        found = self.function((step - 1) / steps, **self.settings)
        if isinstance(found, SupportsFloat) and not getattr(found, "shape", ()):
            return float(found)
        name = getattr(self.function, "__name__", type(self.function).__name__)
        raise ValueError(f"{name} must return a number, got {kind_of(found)}")


def settings_of(schedule: WithWarmup) -> dict[str, Any]:
    """Return a built-in schedule as a table of an experiment file."""
    settings = asdict(schedule)
    lists = {name: list(value) for name, value in settings.items() if isinstance(value, tuple)}
    return {"name": NAMES[type(schedule)], **settings, **lists}


@dataclass(frozen=True)
class Scheduled:
    """A rule with scheduled hyper-parameters; `optimlab.train` accepts one.

    Attributes
    ----------
    rule : makes the optimizer from its hyper-parameters.
    values : hyper-parameter → its value at factor 1: a number, or a column (R, 1).
    schedules : hyper-parameter → its schedule.

    Examples
    --------
    >>> from optimlab.optimizers import SGD
    >>> warm = Scheduled(SGD, {"learning_rate": 0.5}, {"learning_rate": Linear(warmup=0.25)})
    >>> [round(float(warm.at(step, 8).learning_rate), 6) for step in (1, 3, 8)]
    [0.166667, 0.5, 0.083333]
    """

    rule: Callable[..., Any]
    values: Mapping[str, Any]
    schedules: Mapping[str, Schedule]

    def at(self, step: int, steps: int) -> Any:
        """Return the optimizer for step 1, 2, … of `steps`."""
        now = {
            name: self.values[name] * schedule.factor(step, steps)
            for name, schedule in self.schedules.items()
        }
        return self.rule(**{**self.values, **now})
