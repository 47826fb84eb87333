"""The five rules and their nearest misreadings, unrolled: each step looks back at every gradient.

The package keeps running sums with folded constants. Here nothing is kept: an update is a function of
the history of gradients (t, …), the newest last, written as the papers' sums.
"""

import numpy as np


def walk(update, gradient, start, steps, offset=None, **hyperparameters):
    """Return the points (steps + 1, …) of a walk that subtracts `update(history)` at each step.

    `gradient(step, point)` is asked where the walk stands. With an `offset`, the points returned are
    those of the walk plus `offset(history)`.
    """
    point, history, path = start, [], [start]
    for step in range(steps):
        history.append(gradient(step, point))
        past = np.array(history)
        point = point - update(past, **hyperparameters)
        path.append(point if offset is None else point + offset(past, **hyperparameters))
    return np.array(path)


def decayed_sum(history, decay):
    """Return Σ decay^age · value, where the newest value has age 0."""
    ages = np.arange(len(history))[::-1]
    return np.tensordot(np.power(float(decay), ages), history, axes=1)


def momentum_update(history, learning_rate, momentum):
    return learning_rate * decayed_sum(history, momentum)


def plain_update(history, learning_rate, momentum):
    return learning_rate * history[-1]


def damped_update(history, learning_rate, momentum):
    return learning_rate * (1 - momentum) * decayed_sum(history, momentum)


def nesterov_update(history, learning_rate, momentum):
    """PyTorch's form, which stands at the look-ahead point θ = w − μ v."""
    return learning_rate * (history[-1] + momentum * decayed_sum(history, momentum))


def nesterov_offset(history, learning_rate, momentum):
    """Return μ v, from θ back to w."""
    return momentum * learning_rate * decayed_sum(history, momentum)


def adagrad_update(history, learning_rate, eps):
    return learning_rate * history[-1] / np.sqrt((history**2).sum(axis=0) + eps)


def adagrad_eps_outside(history, learning_rate, eps):
    return learning_rate * history[-1] / (np.sqrt((history**2).sum(axis=0)) + eps)


def adagrad_without_newest(history, learning_rate, eps):
    return learning_rate * history[-1] / np.sqrt((history[:-1] ** 2).sum(axis=0) + eps)


def rmsprop_update(history, learning_rate, rho, eps):
    mean_square = (1 - rho) * decayed_sum(history**2, rho)
    return learning_rate * history[-1] / np.sqrt(mean_square + eps)


def rmsprop_eps_outside(history, learning_rate, rho, eps):
    mean_square = (1 - rho) * decayed_sum(history**2, rho)
    return learning_rate * history[-1] / (np.sqrt(mean_square) + eps)


def rmsprop_corrected(history, learning_rate, rho, eps):
    mean_square = (1 - rho) * decayed_sum(history**2, rho) / (1 - rho ** len(history))
    return learning_rate * history[-1] / np.sqrt(mean_square + eps)


def adam_moments(history, beta1, beta2):
    first = (1 - beta1) * decayed_sum(history, beta1)
    second = (1 - beta2) * decayed_sum(history**2, beta2)
    return first, second


def adam_update(history, learning_rate, beta1, beta2, eps):
    first, second = adam_moments(history, beta1, beta2)
    first, second = first / (1 - beta1 ** len(history)), second / (1 - beta2 ** len(history))
    return learning_rate * first / (np.sqrt(second) + eps)


def adam_eps_inside(history, learning_rate, beta1, beta2, eps):
    first, second = adam_moments(history, beta1, beta2)
    first, second = first / (1 - beta1 ** len(history)), second / (1 - beta2 ** len(history))
    return learning_rate * first / np.sqrt(second + eps)


def adam_eps_before_correction(history, learning_rate, beta1, beta2, eps):
    first, second = adam_moments(history, beta1, beta2)
    correction = np.sqrt(1 - beta2 ** len(history)) / (1 - beta1 ** len(history))
    return learning_rate * correction * first / (np.sqrt(second) + eps)


def adam_uncorrected(history, learning_rate, beta1, beta2, eps):
    first, second = adam_moments(history, beta1, beta2)
    return learning_rate * first / (np.sqrt(second) + eps)


def adam_of_the_article(history, learning_rate, beta1, beta2, eps):
    """Correct by (1 − β) at every step, as the article's code does."""
    first, second = adam_moments(history, beta1, beta2)
    return learning_rate * first / (1 - beta1) / (np.sqrt(second / (1 - beta2)) + eps)


RIGHT = {
    "SGD": (momentum_update, None),
    "Nesterov": (nesterov_update, nesterov_offset),
    "AdaGrad": (adagrad_update, None),
    "RMSprop": (rmsprop_update, None),
    "Adam": (adam_update, None),
}
WRONG = [
    ("SGD", plain_update, None),
    ("SGD", damped_update, None),
    ("SGD", nesterov_update, nesterov_offset),
    ("Nesterov", momentum_update, None),  # the gradient taken at w
    ("Nesterov", nesterov_update, None),  # the look-ahead point reported as w
    ("AdaGrad", adagrad_eps_outside, None),
    ("AdaGrad", adagrad_without_newest, None),
    ("RMSprop", rmsprop_eps_outside, None),
    ("RMSprop", rmsprop_corrected, None),
    ("Adam", adam_eps_inside, None),
    ("Adam", adam_eps_before_correction, None),
    ("Adam", adam_uncorrected, None),
    ("Adam", adam_of_the_article, None),
]
