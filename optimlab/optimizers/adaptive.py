"""The adaptive rules since Adam, and the sign-based ones, a page of maths each.

They differ from one another in a line or two, as "Differs from" says. What they share, such as running
averages and their bias correction, is in `optimlab.optimizers.terms`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimlab.optimizers.base import Array, Hyperparameter, Rule, State, Task
from optimlab.optimizers.terms import (
    adam_direction,
    average,
    average_square,
    bias,
    decayed_parts,
    fresh_state,
    over_root,
    scale_weights,
)


@dataclass(frozen=True, kw_only=True)
class AdamW(Rule):
    """AdamW: Adam with decoupled weight decay: weights shrink directly, not through the gradient.

    ::

        w ← (1 − η λ) w
        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    Differs from `Adam` in its first line. λ acts on weights alone, not on biases and normalization,
    where the task's layout tells them apart. The factor is 1 − η λ, as in PyTorch and optax; in the
    paper it is 1 − λ.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithm 2.

    Examples
    --------
    >>> AdamW(weight_decay=0.1)
    AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.1)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.01

    def init(self, params: Array, task: Task | None = None) -> State:
        state = fresh_state(params, "first_moment", "second_moment")
        return {**state, "decayed": decayed_parts(task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])
        update = adam_direction(gradient, state, self.beta1, self.beta2, self.eps)
        params -= np.multiply(update, self.learning_rate, out=update)


@dataclass(frozen=True, kw_only=True)
class NAdam(Rule):
    """NAdam: Adam with a look-ahead like Nesterov's: the newest gradient is mixed in once more.

    ::

        μₜ = β₁ (1 − ½ · 0.96^(t ψ))
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
        u = μₜ₊₁ m / (1 − μ₁ ⋯ μₜ₊₁) + (1 − μₜ) g / (1 − μ₁ ⋯ μₜ)
        w ← w − η u / (√v̂ + ε)

    Differs from `Adam` in u, which in Adam is m / (1 − β₁ᵗ). The momentum schedule μ is PyTorch's, with
    ``momentum_decay`` for ψ; optax has none (μ = β₁).

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).
    momentum_decay : ψ, in [0, ∞): how soon μ grows from β₁ / 2 to β₁.

    References
    ----------
    Dozat (2016), Incorporating Nesterov momentum into Adam, algorithm 2 (and the schedule in its
    appendix).

    Examples
    --------
    >>> NAdam()
    NAdam(learning_rate=0.002, beta1=0.9, beta2=0.999, eps=1e-08, momentum_decay=0.004)
    """

    learning_rate: Hyperparameter = 0.002
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8
    momentum_decay: Hyperparameter = 0.004

    def init(self, params: Array) -> State:
        return {**fresh_state(params, "first_moment", "second_moment", "mixed"), "product": 1.0}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        mixed, scratch = state["mixed"], state["scratch"]
        now, ahead = self._momentum(state["steps"]), self._momentum(state["steps"] + 1)
        state["product"] = state["product"] * now
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        second = average_square(state["second_moment"], gradient, self.beta2, scratch)

        np.multiply(first, ahead / (1 - state["product"] * ahead), out=mixed)
        mixed += np.multiply(gradient, (1 - now) / (1 - state["product"]), out=scratch)
        update = over_root(mixed, second, bias(self.beta2, state["steps"]), self.eps, scratch)
        params -= np.multiply(update, self.learning_rate, out=scratch)

    def _momentum(self, step: int) -> Hyperparameter:
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))


@dataclass(frozen=True, kw_only=True)
class RAdam(Rule):
    """RAdam: Adam with an automatic warm-up while its second moment averages too few gradients.

    ::

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²
        ρ∞ = 2 / (1 − β₂) − 1        ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        r = √( (ρ − 4) (ρ − 2) ρ∞ / ((ρ∞ − 4) (ρ∞ − 2) ρ) )
        w ← w − η m̂ · r √(1 − β₂ᵗ) / (√v + ε)     where ρ > 5
        w ← w − η m̂                               elsewhere

    Differs from `Adam` in r, and in its first steps, which are plain momentum. ε is where PyTorch has
    it; the paper has none, and optax adds it after the correction by 1 − β₂ᵗ.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Liu et al. (2020), On the variance of the adaptive learning rate and beyond, algorithm 2.

    Examples
    --------
    >>> RAdam()
    RAdam(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "second_moment")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        scratch = state["scratch"]
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        second = average_square(state["second_moment"], gradient, self.beta2, scratch)

        steps, corrected = state["steps"], bias(self.beta2, state["steps"])
        limit = 2 / (1 - self.beta2) - 1
        length = limit - 2 * steps * (1 - corrected) / corrected
        is_long = np.greater(length, 5)
        long = np.maximum(length, 5)  # elsewhere the factor is not used
        factor = ((long - 4) * (long - 2) * limit / ((limit - 4) * (limit - 2) * long)) ** 0.5
        np.add(np.sqrt(second, out=scratch), self.eps, out=scratch)
        np.divide(factor * corrected**0.5, scratch, out=scratch)
        np.copyto(scratch, 1, where=~is_long)
        scratch *= first
        params -= np.multiply(scratch, self.learning_rate / bias(self.beta1, steps), out=scratch)


@dataclass(frozen=True, kw_only=True)
class AMSGrad(Rule):
    """AMSGrad: Adam with the largest second moment so far, so that effective rates never grow.

    ::

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²
        V ← max(V, v)
        w ← w − η m̂ / (√(V / (1 − β₂ᵗ)) + ε)

    Differs from `Adam` in V. The maximum is taken over the uncorrected v, as in PyTorch; optax takes it
    over the corrected v̂, and the paper corrects nothing.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond, algorithm 2.

    Examples
    --------
    >>> AMSGrad()
    AMSGrad(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "second_moment", "largest")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        largest, scratch = state["largest"], state["scratch"]
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        second = average_square(state["second_moment"], gradient, self.beta2, scratch)
        np.maximum(largest, second, out=largest)

        update = over_root(first, largest, bias(self.beta2, state["steps"]), self.eps, scratch)
        update *= self.learning_rate / bias(self.beta1, state["steps"])
        params -= update


@dataclass(frozen=True, kw_only=True)
class Adamax(Rule):
    """Adamax: Adam with the largest recent gradient in place of the root mean square.

    ::

        m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
        u ← max(β₂ u, |g| + ε)
        w ← w − η m̂ / u

    Differs from `Adam` in u, a maximum, which needs no bias correction. ε is where PyTorch has it; the
    paper has none, and optax adds it to u.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, section 7.1 and algorithm 2.

    Examples
    --------
    >>> Adamax()
    Adamax(learning_rate=0.002, beta1=0.9, beta2=0.999, eps=1e-08)
    """

    learning_rate: Hyperparameter = 0.002
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-8

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "largest")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        largest, scratch = state["largest"], state["scratch"]
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        largest *= self.beta2
        np.add(np.abs(gradient, out=scratch), self.eps, out=scratch)
        np.maximum(largest, scratch, out=largest)

        np.divide(first, largest, out=scratch)
        scratch *= self.learning_rate / bias(self.beta1, state["steps"])
        params -= scratch


@dataclass(frozen=True, kw_only=True)
class AdaDelta(Rule):
    """AdaDelta: RMSprop whose rate for each parameter is the size of that parameter's recent steps.

    ::

        E ← ρ E + (1 − ρ) g²
        d = √(D + ε) / √(E + ε) · g
        D ← ρ D + (1 − ρ) d²
        w ← w − η d

    Differs from `RMSprop` in √(D + ε), which has the unit of a parameter. The paper has no η (η = 1).
    While D is small, ε decides how fast it starts.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    rho : ρ, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Zeiler (2012), ADADELTA: an adaptive learning rate method, algorithm 1.

    Examples
    --------
    >>> AdaDelta()
    AdaDelta(learning_rate=1.0, rho=0.9, eps=1e-06)
    """

    learning_rate: Hyperparameter = 1.0
    rho: Hyperparameter = 0.9
    eps: Hyperparameter = 1e-6

    def init(self, params: Array) -> State:
        return fresh_state(params, "mean_square", "mean_square_of_steps", "update")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        update, scratch = state["update"], state["scratch"]
        mean_square = average_square(state["mean_square"], gradient, self.rho, scratch)
        np.sqrt(np.add(state["mean_square_of_steps"], self.eps, out=update), out=update)
        update /= np.sqrt(np.add(mean_square, self.eps, out=scratch), out=scratch)
        update *= gradient
        average_square(state["mean_square_of_steps"], update, self.rho, scratch)
        params -= np.multiply(update, self.learning_rate, out=update)


@dataclass(frozen=True, kw_only=True)
class AdaBelief(Rule):
    """AdaBelief: Adam scaled by the deviation of gradients from their average.

    ::

        m ← β₁ m + (1 − β₁) g               m̂ = m / (1 − β₁ᵗ)
        s ← β₂ s + (1 − β₂) (g − m)² + ε    ŝ = s / (1 − β₂ᵗ)
        w ← w − η m̂ / (√ŝ + ε)

    Differs from `Adam` in (g − m)², which in Adam is g²: where gradients agree, it takes long steps. ε
    is added in both places, as in the authors' code and by default in optax.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Zhuang et al. (2020), AdaBelief optimizer: adapting stepsizes by the belief in observed gradients,
    algorithm 2.

    Examples
    --------
    >>> AdaBelief()
    AdaBelief(learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-16)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-16

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "surprise")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        scratch = state["scratch"]
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        np.subtract(gradient, first, out=scratch)
        surprise = average_square(state["surprise"], scratch, self.beta2, scratch)
        surprise += self.eps

        update = over_root(first, surprise, bias(self.beta2, state["steps"]), self.eps, scratch)
        update *= self.learning_rate / bias(self.beta1, state["steps"])
        params -= update


@dataclass(frozen=True, kw_only=True)
class Yogi(Rule):
    """Yogi: Adam whose second moment changes by an amount that does not depend on how far it has to go.

    ::

        m ← β₁ m + (1 − β₁) g                       m̂ = m / (1 − β₁ᵗ)
        v ← v − (1 − β₂) sign(v − g²) g²            v̂ = v / (1 − β₂ᵗ)
        w ← w − η m̂ / (√v̂ + ε)

    Differs from `Adam` in v. Adam's change is (1 − β₂) (g² − v), so v falls fast after a large
    gradient; here the smaller the gradients, the more slowly it falls. Both averages begin at 0; those
    of optax at 1e-6 by default.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Zaheer et al. (2018), Adaptive methods for nonconvex optimization, algorithm 2.

    Examples
    --------
    >>> Yogi()
    Yogi(learning_rate=0.01, beta1=0.9, beta2=0.999, eps=0.001)
    """

    learning_rate: Hyperparameter = 0.01
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    eps: Hyperparameter = 1e-3

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "second_moment", "square", "sign")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        second, square, scratch = state["second_moment"], state["square"], state["scratch"]
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        np.multiply(gradient, gradient, out=square)
        sign = np.sign(np.subtract(second, square, out=scratch), out=state["sign"])
        square *= 1 - self.beta2
        second -= np.multiply(sign, square, out=scratch)

        update = over_root(first, second, bias(self.beta2, state["steps"]), self.eps, scratch)
        update *= self.learning_rate / bias(self.beta1, state["steps"])
        params -= update


@dataclass(frozen=True, kw_only=True)
class Adan(Rule):
    """Adan: Adam with Nesterov momentum, estimated from the differences of successive gradients.

    ::

        d = g − gₜ₋₁  (0 at the first step)
        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) d
        n ← β₃ n + (1 − β₃) (g + β₂ d)²
        w ← (w − η (m̂ + β₂ v̂) / (√n̂ + ε)) / (1 + η λ),   ^ is division by 1 − βᵗ

    Differs from `NAdam` in v, a separate average of differences, and in its implicit weight decay.
    The paper writes 1 − β for these β; the authors' code writes them as here. optax 0.2.8 has 1 − β₂ in
    place of the two single β₂, and does not divide by 1 + η λ.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2, beta3 : β₁, β₂ and β₃, in [0, 1).
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Xie et al. (2022), Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models,
    algorithm 1.

    Examples
    --------
    >>> Adan(weight_decay=0.02)  # doctest: +NORMALIZE_WHITESPACE
    Adan(learning_rate=0.001, beta1=0.98, beta2=0.92, beta3=0.99, eps=1e-08, weight_decay=0.02)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.98
    beta2: Hyperparameter = 0.92
    beta3: Hyperparameter = 0.99
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        names = ("first_moment", "difference", "second_moment", "previous", "change")
        return {**fresh_state(params, *names), "decayed": decayed_parts(task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        previous, change, scratch = state["previous"], state["change"], state["scratch"]
        if state["steps"] == 1:
            previous[...] = gradient
        np.subtract(gradient, previous, out=change)
        previous[...] = gradient
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        difference = average(state["difference"], change, self.beta2, scratch)
        np.add(gradient, np.multiply(change, self.beta2, out=scratch), out=scratch)
        second = average_square(state["second_moment"], scratch, self.beta3, scratch)

        np.multiply(second, 1 / bias(self.beta3, state["steps"]), out=scratch)
        np.add(np.sqrt(scratch, out=scratch), self.eps, out=scratch)
        np.multiply(first, 1 / bias(self.beta1, state["steps"]), out=change)
        np.divide(change, scratch, out=change)
        np.divide(difference, scratch, out=scratch)
        scratch *= self.beta2 / bias(self.beta2, state["steps"])
        change += scratch
        params -= np.multiply(change, self.learning_rate, out=change)
        scale_weights(params, 1 / (1 + self.learning_rate * self.weight_decay), state["decayed"])


@dataclass(frozen=True, kw_only=True)
class AdEMAMix(Rule):
    """AdEMAMix: Adam with a second, much longer average of gradients.

    ::

        m ← β₁ m + (1 − β₁) g            m̂ = m / (1 − β₁ᵗ)
        M ← β₃(t) M + (1 − β₃(t)) g
        v ← β₂ v + (1 − β₂) g²           v̂ = v / (1 − β₂ᵗ)
        w ← (1 − η λ) w − η (m̂ + α(t) M) / (√v̂ + ε)

    Differs from `AdamW` in M. Over the T steps of the training, α(t) grows linearly from 0 to α, and
    β₃(t) from β₁ to β₃ so that its half-life grows linearly; T is the task's number of steps. Without a
    task, α and β₃ hold from the first step, as in optax by default.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2, beta3 : β₁, β₂ and β₃, in [0, 1).
    alpha : α, in [0, ∞): the weight of the long memory.
    eps : ε, in (0, ∞).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Pagliardini, Ablin & Grangier (2024), The AdEMAMix optimizer: better, faster, older, algorithm 1; the
    schedules in its section 3 and appendix A.1.

    Examples
    --------
    >>> AdEMAMix(alpha=8.0).beta3
    0.9999
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.999
    beta3: Hyperparameter = 0.9999
    alpha: Hyperparameter = 5.0
    eps: Hyperparameter = 1e-8
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        state = fresh_state(params, "first_moment", "second_moment", "long_memory", "mixed")
        return {**state, "decayed": decayed_parts(task), "horizon": task.steps if task else 0}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        state["steps"] += 1
        mixed, scratch = state["mixed"], state["scratch"]
        progress = min(state["steps"] / state["horizon"], 1) if state["horizon"] else 1
        first = average(state["first_moment"], gradient, self.beta1, scratch)
        long_memory = average(state["long_memory"], gradient, self._long_decay(progress), scratch)
        second = average_square(state["second_moment"], gradient, self.beta2, scratch)

        np.multiply(first, 1 / bias(self.beta1, state["steps"]), out=mixed)
        mixed += np.multiply(long_memory, self.alpha * progress, out=scratch)
        update = over_root(mixed, second, bias(self.beta2, state["steps"]), self.eps, scratch)
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])
        params -= np.multiply(update, self.learning_rate, out=update)

    def _long_decay(self, progress: float) -> Hyperparameter:
        """Return β₃(t), whose half-life ln ½ / ln β − 1 grows linearly from that of β₁ to that of β₃."""
        if progress == 1:
            return self.beta3
        with np.errstate(divide="ignore"):  # β = 0 has no memory: its logarithm is −∞
            return np.exp(1 / ((1 - progress) / np.log(self.beta1) + progress / np.log(self.beta3)))


@dataclass(frozen=True, kw_only=True)
class ADOPT(Rule):
    """ADOPT: Adam with each gradient scaled before averaging, by a second moment that excludes it.

    ::

        v₀ = g₀²; no step is taken at t = 0
        m ← β₁ m + (1 − β₁) clip(g / max(√v, ε), ± t^¼)
        w ← w − η m
        v ← β₂ v + (1 − β₂) g²

    Differs from `Adam` in the order of operations, which makes it converge for any β₂, and in the
    clipping of the paper's second version. ε is a floor.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    eps : ε, in (0, ∞).

    References
    ----------
    Taniguchi et al. (2024), ADOPT: modified Adam can converge with any β₂ with the optimal rate,
    algorithm 2.

    Examples
    --------
    >>> ADOPT()
    ADOPT(learning_rate=0.001, beta1=0.9, beta2=0.9999, eps=1e-06)
    """

    learning_rate: Hyperparameter = 0.001
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.9999
    eps: Hyperparameter = 1e-6

    def init(self, params: Array) -> State:
        return fresh_state(params, "first_moment", "second_moment")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        second, scratch, limit = state["second_moment"], state["scratch"], state["steps"] ** 0.25
        state["steps"] += 1
        if state["steps"] == 1:
            np.multiply(gradient, gradient, out=second)
            return
        np.maximum(np.sqrt(second, out=scratch), self.eps, out=scratch)
        np.clip(np.divide(gradient, scratch, out=scratch), -limit, limit, out=scratch)
        first = average(state["first_moment"], scratch, self.beta1, scratch)
        params -= np.multiply(first, self.learning_rate, out=scratch)
        average_square(second, gradient, self.beta2, scratch)


@dataclass(frozen=True, kw_only=True)
class Lion(Rule):
    """Lion: the sign of a momentum; found by a search over programs.

    ::

        u = sign(β₁ m + (1 − β₁) g)
        m ← β₂ m + (1 − β₂) g
        w ← (1 − η λ) w − η u

    Differs from `Signum` in its two decay rates, which give the newest gradient more weight in the step
    than in the average. Each step has the same length, so a good η is three to ten times smaller than
    Adam's, and λ larger by the same factor.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    beta1, beta2 : β₁ and β₂, in [0, 1).
    weight_decay : λ, in [0, ∞).

    References
    ----------
    Chen et al. (2023), Symbolic discovery of optimization algorithms, algorithm 2.

    Examples
    --------
    >>> Lion(weight_decay=0.1)
    Lion(learning_rate=0.0001, beta1=0.9, beta2=0.99, weight_decay=0.1)
    """

    learning_rate: Hyperparameter = 1e-4
    beta1: Hyperparameter = 0.9
    beta2: Hyperparameter = 0.99
    weight_decay: Hyperparameter = 0.0

    def init(self, params: Array, task: Task | None = None) -> State:
        return {**fresh_state(params, "momentum", "update"), "decayed": decayed_parts(task)}

    def step(self, params: Array, gradient: Array, state: State) -> None:
        momentum, update, scratch = state["momentum"], state["update"], state["scratch"]
        np.multiply(momentum, self.beta1, out=update)
        update += np.multiply(gradient, 1 - self.beta1, out=scratch)
        sign = np.sign(update, out=scratch)  # into another array: in place it takes five times as long
        scale_weights(params, 1 - self.learning_rate * self.weight_decay, state["decayed"])
        params -= np.multiply(sign, self.learning_rate, out=update)
        average(momentum, gradient, self.beta2, scratch)


@dataclass(frozen=True, kw_only=True)
class Signum(Rule):
    """Signum: a step of the same length along each axis, in the direction of the momentum's sign.

    ::

        m ← μ m + (1 − μ) g
        w ← w − η sign(m)

    Differs from `SGD` in the sign, and from `Lion` in its single decay rate. Momentum 0 is signSGD.

    Parameters
    ----------
    learning_rate : η, in (0, ∞).
    momentum : μ, in [0, 1).

    References
    ----------
    Bernstein et al. (2018), signSGD: compressed optimisation for non-convex problems, algorithm 2.

    Examples
    --------
    >>> Signum(momentum=0.5)
    Signum(learning_rate=0.0001, momentum=0.5)
    """

    learning_rate: Hyperparameter = 1e-4
    momentum: Hyperparameter = 0.9

    def init(self, params: Array) -> State:
        return fresh_state(params, "mean_gradient")

    def step(self, params: Array, gradient: Array, state: State) -> None:
        scratch = state["scratch"]
        mean = average(state["mean_gradient"], gradient, self.momentum, scratch)
        params -= np.multiply(np.sign(mean, out=scratch), self.learning_rate, out=scratch)
