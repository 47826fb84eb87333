"""The network in plain floats: one run, sample by sample, unit by unit, and no array anywhere.

A batch is a list of samples, a sample a list of features. Batch norm's gradient is its whole Jacobian,
not the folded formula.
"""

import math
from typing import NamedTuple

EPS = 0.01

ACTIVATION = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x >= 0 else 0.2 * x,
    "elu": lambda x: x if x >= 0 else 0.1 * (math.exp(x) - 1),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "softplus": lambda x: math.log1p(math.exp(x)),
}
SLOPE = {
    "sigmoid": lambda x: math.exp(-x) / (1 + math.exp(-x)) ** 2,
    "tanh": lambda x: 1 / math.cosh(x) ** 2,
    "relu": lambda x: 1.0 if x >= 0 else 0.0,
    "leaky_relu": lambda x: 1.0 if x >= 0 else 0.2,
    "elu": lambda x: 1.0 if x >= 0 else 0.1 * math.exp(x),
    "gelu": lambda x: (
        (1 + math.erf(x / math.sqrt(2))) / 2 + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    ),
    "softplus": lambda x: 1 / (1 + math.exp(-x)),
}


class Block(NamedTuple):
    """Dense, batch norm and activation; what is absent is None."""

    weight: list  # of outputs, each a list of inputs: transposed, in the row it is input by input
    bias: list | None
    gamma: list | None
    beta: list | None
    activation: str | None


def blocks_of(row, inputs, hidden, classes, batch_norm, bias):
    """Read the blocks off a flat row of parameters."""
    numbers = iter(float(number) for number in row)

    def take(count):
        return [next(numbers) for _ in range(count)]

    blocks = []
    for units, activation in [*hidden, (classes, None)]:
        by_input = [take(units) for _ in range(inputs)]
        weight = [[row[k] for row in by_input] for k in range(units)]
        offsets = take(units) if bias else None
        gamma, beta = (take(units), take(units)) if batch_norm else (None, None)
        blocks.append(Block(weight, offsets, gamma, beta, activation))
        inputs = units
    assert next(numbers, None) is None
    return blocks


def mean(numbers):
    return math.fsum(numbers) / len(numbers)


def dot(first, second):
    return math.fsum(a * b for a, b in zip(first, second, strict=True))


def column(batch, feature):
    return [sample[feature] for sample in batch]


def statistics_of(batch):
    """Return the mean and the biased variance of each feature."""
    means = [mean(column(batch, k)) for k in range(len(batch[0]))]
    variances = [mean([(x - m) ** 2 for x in column(batch, k)]) for k, m in enumerate(means)]
    return means, variances


def forward(blocks, batch, statistics=None):
    """Return the logits and, block by block, (inputs, dense outputs, normalized, means, variances).

    Batch norm takes the batch's statistics, or the given ones, (means, variances) a block.
    """
    trail = []
    for number, block in enumerate(blocks):
        offsets = block.bias or [0.0] * len(block.weight)
        dense = [
            [
                dot(weights, sample) + offset
                for weights, offset in zip(block.weight, offsets, strict=True)
            ]
            for sample in batch
        ]
        normalized, means, variances = dense, None, None
        if block.gamma:
            means, variances = statistics[number] if statistics else statistics_of(dense)
            normalized = [
                [
                    block.gamma[k] * (x - means[k]) / math.sqrt(variances[k] + EPS) + block.beta[k]
                    for k, x in enumerate(sample)
                ]
                for sample in dense
            ]
        trail.append((batch, dense, normalized, means, variances))
        f = ACTIVATION.get(block.activation, lambda x: x)
        batch = [[f(x) for x in sample] for sample in normalized]
    return batch, trail


def probabilities(scores):
    top = max(scores)
    total = math.fsum(math.exp(score - top) for score in scores)
    return [math.exp(score - top) / total for score in scores]


def mean_loss(logits, labels):
    """Return the mean cross-entropy."""
    return mean([-math.log(probabilities(s)[k]) for s, k in zip(logits, labels, strict=True)])


def accuracy(logits, labels):
    """Return the share of samples whose label's logit is above all others."""
    return mean(
        [
            all(s[k] > other for j, other in enumerate(s) if j != k)
            for s, k in zip(logits, labels, strict=True)
        ]
    )


def batch_norm_backward(block, flowing, dense, means, variances):
    """Return dγ, dβ and the gradient by the dense outputs, through each pair of samples."""
    samples, features = range(len(dense)), range(len(means))
    d_gamma, d_beta = [], []
    result = [[0.0] * len(means) for _ in samples]
    for k in features:
        deviation = math.sqrt(variances[k] + EPS)
        hat = [(x - means[k]) / deviation for x in column(dense, k)]
        d_gamma.append(dot(column(flowing, k), hat))
        d_beta.append(math.fsum(column(flowing, k)))
        for i in samples:
            jacobian = [((i == j) - (1 + hat[i] * hat[j]) / len(dense)) / deviation for j in samples]
            result[i][k] = block.gamma[k] * dot(column(flowing, k), jacobian)
    return d_gamma, d_beta, result


def gradient(blocks, batch, labels):
    """Return the gradient of the mean loss as a flat list in the order of the parameters."""
    logits, trail = forward(blocks, batch)
    flowing = [
        [(p - (k == label)) / len(batch) for k, p in enumerate(probabilities(scores))]
        for scores, label in zip(logits, labels, strict=True)
    ]
    flat = []
    for block, (inputs, dense, normalized, means, variances) in zip(
        reversed(blocks), reversed(trail), strict=True
    ):
        slope = SLOPE.get(block.activation, lambda x: 1.0)
        flowing = [
            [d * slope(x) for d, x in zip(ds, xs, strict=True)]
            for ds, xs in zip(flowing, normalized, strict=True)
        ]
        d_gamma, d_beta = [], []
        if block.gamma:
            d_gamma, d_beta, flowing = batch_norm_backward(block, flowing, dense, means, variances)
        units, features = range(len(block.weight)), range(len(inputs[0]))
        d_weight = [dot(column(flowing, k), column(inputs, j)) for j in features for k in units]
        d_bias = [math.fsum(column(flowing, k)) for k in units] if block.bias else []
        flat = [*d_weight, *d_bias, *d_gamma, *d_beta, *flat]
        flowing = [[dot(ds, column(block.weight, j)) for j in features] for ds in flowing]
    return flat
