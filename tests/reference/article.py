"""The article's training restated: images are rows, the loss a sum, gradients in its pieces."""

import numpy as np

BLOCKS = (1, 2, 3)
SLOPE = {1: lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2, 2: lambda x: np.where(x < 0, 0.0, 1.0)}


def weights_of(layout, row):
    """Return a flat row of parameters as name → array, the weights (inputs, outputs)."""
    views = layout.views(np.array([row]))
    return {name: view[0].copy() for name, view in views.items()}


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


ACTIVATION = {1: lambda x: 1 / (1 + np.exp(-x)), 2: lambda x: np.where(x < 0, 0.0, x), 3: softmax}


def forward(weights, x, statistics=None):
    """Return the probabilities, and of each block its input, and x, x − μ, √(σ² + ε), y of batch norm.

    Batch norm takes the batch's mean and variance or, block by block, the given ones.
    """
    trail = {}
    for k in BLOCKS:
        dense = x @ weights[f"dense{k}.weight"] + weights[f"dense{k}.bias"]
        mean, variance = statistics[k] if statistics else (dense.mean(axis=0), dense.var(axis=0))
        centred, deviation = dense - mean, np.sqrt(variance + 0.01)
        gamma, beta = weights[f"batch_norm{k}.gamma"], weights[f"batch_norm{k}.beta"]
        normalized = gamma * centred / deviation + beta
        trail[k] = (x, dense, centred, deviation, normalized)
        x = ACTIVATION[k](normalized)
    return x, trail


def binary_loss(p, y):
    """Return per-class binary cross-entropy, summed over images and classes: the loss it reports."""
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return (-y * np.log(p) - (1 - y) * np.log(1 - p)).sum()


def categorical_loss(p, y):
    """Return categorical cross-entropy, summed over images: the loss it descends."""
    return -np.log(p[y == 1]).sum()


def through_softmax(p, y):
    """Return the binary loss's gradient by p, times the diagonal of softmax's derivative."""
    q = np.clip(p, 1e-15, 1 - 1e-15)
    return (-y / q + (1 - y) / (1 - q)) * (p * (1 - p))


def backward(weights, trail, flow):
    """Return each parameter's gradient, batch norm's as if it had taken the batch's statistics."""
    gradients = {}
    for k in reversed(BLOCKS):
        x, _, centred, deviation, normalized = trail[k]
        images = len(x)
        if k in SLOPE:
            flow = flow * SLOPE[k](normalized)
        gradients[f"batch_norm{k}.gamma"] = (flow * centred / deviation).sum(axis=0)
        gradients[f"batch_norm{k}.beta"] = flow.sum(axis=0)
        along = (flow * centred).sum(axis=0)
        flow = (images * flow - flow.sum(axis=0) - centred / deviation**2 * along) * (
            weights[f"batch_norm{k}.gamma"] / (images * deviation)
        )
        gradients[f"dense{k}.weight"] = x.T @ flow
        gradients[f"dense{k}.bias"] = flow.sum(axis=0)
        flow = flow @ weights[f"dense{k}.weight"].T
    return gradients


def train(weights, x, y, steps, *, running=False):
    """Train in place; return the loss that the article reports, before each step.

    With ``running=True`` batch norm normalizes with its running averages, as in the article's code.
    They start from the first batch.
    """
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    averages, losses = None, []
    for _ in range(steps):
        averages = _averages(averages, weights, x) if running else None
        p, trail = forward(weights, x, averages)
        losses.append(binary_loss(p, y))
        for name, gradient in backward(weights, trail, through_softmax(p, y)).items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            root = np.sqrt(second[name] / (1 - 0.999))
            weights[name] -= 0.001 * first[name] / (1 - 0.9) / (root + 1e-8)
    return np.array(losses)


def _averages(averages, weights, x):
    """Return the running averages after one more batch, which goes through them block by block."""
    new = {}
    for k in BLOCKS:
        dense = x @ weights[f"dense{k}.weight"] + weights[f"dense{k}.bias"]
        batch = np.array([dense.mean(axis=0), dense.var(axis=0)])
        new[k] = batch if averages is None else 0.99 * averages[k] + 0.01 * batch
        normalized = weights[f"batch_norm{k}.gamma"] * (dense - new[k][0]) / np.sqrt(new[k][1] + 0.01)
        x = ACTIVATION[k](normalized + weights[f"batch_norm{k}.beta"])
    return new
