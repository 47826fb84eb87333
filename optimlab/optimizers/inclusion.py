"""Which rule contains which: for some hyper-parameters, it takes the same steps as the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Inclusion:
    """A rule that contains another.

    Attributes
    ----------
    wider, narrower : names of rules.
    at : hyper-parameter of the wider rule → the value at which it is the other; ∞: in the limit.
    words : an explanation, to follow "… contains …: ".
    narrower_at : hyper-parameter of the narrower rule → the only value for which this holds.
    same : hyper-parameter of the wider rule → the one of the narrower rule that it must equal.
    """

    wider: str
    narrower: str
    at: Mapping[str, float]
    words: str
    narrower_at: Mapping[str, float] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)


STILL = "with a momentum of 0 both are gradient descent"
BY_EPS = "with an eps far above √v and a correspondingly larger rate, it is SGD with momentum beta1"
INCLUSIONS = (
    Inclusion("Nesterov", "SGD", {"momentum": 0}, STILL, {"momentum": 0}),
    Inclusion("SGD", "Nesterov", {"momentum": 0}, STILL, {"momentum": 0}),
    Inclusion(
        "RMSprop",
        "SGD",
        {"eps": math.inf},
        "with an eps far above the mean square of the gradient and a correspondingly larger rate, it "
        "is gradient descent",
        {"momentum": 0},
    ),
    Inclusion(
        "Adam",
        "RMSprop",
        {"beta1": 0},
        "with beta1 = 0 it is RMSprop, except for the bias correction and the position of eps",
        same={"beta2": "rho", "eps": "eps"},
    ),
    Inclusion("Adam", "SGD", {"eps": math.inf}, BY_EPS, same={"beta1": "momentum"}),
    Inclusion("AdamW", "SGD", {"eps": math.inf}, BY_EPS, same={"beta1": "momentum"}),
    Inclusion(
        "AdamW",
        "Adam",
        {"weight_decay": 0},
        "with weight_decay = 0 it is Adam",
        same={name: name for name in ("beta1", "beta2", "eps")},
    ),
)
