"""All optimizers by name; import them, and their building blocks, from here."""

from optimlab.optimizers.adaptive import (
    ADOPT,
    AdaBelief,
    AdaDelta,
    Adamax,
    AdamW,
    Adan,
    AdEMAMix,
    AMSGrad,
    Lion,
    NAdam,
    RAdam,
    Signum,
    Yogi,
)
from optimlab.optimizers.averaging import EMA, Cautious, Lookahead, ScheduleFreeAdamW, ScheduleFreeSGD
from optimlab.optimizers.base import (
    RANGES,
    Array,
    Hyperparameter,
    Layout,
    Optimizer,
    Range,
    Rule,
    State,
    Task,
    begin,
    check_hyperparameters,
    eval_params,
)
from optimlab.optimizers.classic import SGD, AdaGrad, Adam, Nesterov, RMSprop
from optimlab.optimizers.decay_and_clipping import ClipNorm, ClipValue, WeightDecay
from optimlab.optimizers.distance import DoG, Prodigy
from optimlab.optimizers.matrix import LAMB, LARS, SOAP, Muon, Shampoo

CLASSIC: tuple[type, ...] = (SGD, Nesterov, AdaGrad, RMSprop, Adam)
NEWER: tuple[type, ...] = (
    AdamW, NAdam, RAdam, AMSGrad, Adamax, AdaDelta, AdaBelief, Yogi, Adan, AdEMAMix, ADOPT,
    Lion, Signum, Prodigy, DoG, ScheduleFreeSGD, ScheduleFreeAdamW,
    LAMB, LARS, Muon, Shampoo, SOAP,
)  # fmt: skip
RULES: dict[str, type] = {rule.__name__: rule for rule in (*CLASSIC, *NEWER)}
WRAPPERS: dict[str, type] = {wrapper.__name__: wrapper for wrapper in (EMA, Lookahead, Cautious)}
# Key of an optimizer's table → wrapper for rules that do not have this hyper-parameter themselves.
BY_KEY: dict[str, type] = {"clip_norm": ClipNorm, "clip_value": ClipValue, "weight_decay": WeightDecay}

__all__ = [
    "ADOPT",
    "BY_KEY",
    "CLASSIC",
    "EMA",
    "LAMB",
    "LARS",
    "RANGES",
    "RULES",
    "SGD",
    "SOAP",
    "WRAPPERS",
    "AMSGrad",
    "AdEMAMix",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Array",
    "Cautious",
    "ClipNorm",
    "ClipValue",
    "DoG",
    "Hyperparameter",
    "Layout",
    "Lion",
    "Lookahead",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Range",
    "Rule",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Shampoo",
    "Signum",
    "State",
    "Task",
    "WeightDecay",
    "Yogi",
    "begin",
    "check_hyperparameters",
    "eval_params",
]
