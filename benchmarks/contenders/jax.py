"""JAX: one compiled program that trains all runs, `jit(vmap(scan))`, with optax's rules."""

from __future__ import annotations

import time

import jax
import numpy as np
import optax
from jax import numpy as jnp

from benchmarks.case import Case, losses_of

Array = np.ndarray


def rule(case: Case) -> optax.GradientTransformation:
    """Return the rule as optax has it."""
    h = case.hyperparameters
    match case.rule:
        case "SGD" | "Nesterov":
            return optax.sgd(h["learning_rate"], h["momentum"], nesterov=case.rule == "Nesterov")
        case "AdaGrad":
            return optax.adagrad(h["learning_rate"], initial_accumulator_value=0, eps=h["eps"])
        case "RMSprop":
            return optax.rmsprop(h["learning_rate"], decay=h["rho"], eps=h["eps"])
        case "Adam":
            return optax.adam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["eps"])
    raise KeyError(case.rule)


class JitVmapScan:
    """All runs and all steps in one compiled call; batch norm's running averages are carried along."""

    def __init__(self, case: Case) -> None:
        self.case = case
        layout, self.data = case.problem.network.layout, case.problem.parts
        blocks = [(1, jax.nn.sigmoid), (2, jax.nn.relu), (3, lambda x: x)]
        optimizer = rule(case)
        images, labels = (jnp.asarray(each) for each in self.data["train"])

        def forward(params: jax.Array, x: jax.Array, averages: list | None) -> tuple:
            views = {name: params[s].reshape(layout.shapes[name]) for name, s in layout.slices.items()}
            statistics = []
            for k, activation in blocks:
                x = x @ views[f"dense{k}.weight"]
                mean, variance = averages[k - 1] if averages else (x.mean(0), x.var(0))
                statistics.append((mean, variance))
                scale = views[f"batch_norm{k}.gamma"] / jnp.sqrt(variance + 0.01)
                x = activation((x - mean) * scale + views[f"batch_norm{k}.beta"])
            return x, statistics

        def loss_of(params: jax.Array, x: jax.Array, y: jax.Array) -> tuple:
            logits, statistics = forward(params, x, None)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), statistics

        def step(carry: tuple, batch: jax.Array) -> tuple:
            params, state, averages = carry
            (loss, new), gradient = jax.value_and_grad(loss_of, has_aux=True)(
                params, images[batch], labels[batch]
            )
            updates, state = optimizer.update(gradient, state, params)
            averages = jax.tree.map(lambda old, value: 0.99 * old + 0.01 * value, averages, new)
            return (optax.apply_updates(params, updates), state, averages), loss

        def train(params: jax.Array, batches: jax.Array) -> tuple:
            averages = [(jnp.zeros(n), jnp.ones(n)) for n in (32, 16, 10)]
            (params, _, averages), losses = jax.lax.scan(
                step, (params, optimizer.init(params), averages), batches
            )
            return params, averages, losses[-1]

        def evaluate(params: jax.Array, averages: list) -> list:
            metrics = []
            for x, y in self.data.values():
                logits, _ = forward(params, x, averages)
                loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
                metrics += [loss, (logits.argmax(-1) == y).mean()]
            return metrics

        self.trained, self.evaluated = jax.jit(jax.vmap(train)), jax.jit(jax.vmap(evaluate))
        self.start = jnp.asarray(case.start)
        self.samples = jnp.asarray(case.samples.transpose(1, 0, 2).astype(np.int32))

    def train(self) -> float:
        start = time.perf_counter()
        self.outcome = jax.block_until_ready(self.trained(self.start, self.samples))
        return time.perf_counter() - start

    def evaluate(self) -> None:
        jax.block_until_ready(self.evaluated(*self.outcome[:2]))

    def losses(self) -> Array:
        return np.asarray(self.outcome[2])

    def expected(self) -> Array:
        return losses_of(self.case.problem, self.case)[-1]
