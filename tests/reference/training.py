"""Training with nothing spared: all parameters, losses and gradients of all steps are kept."""

import math
from itertools import islice


def keep_everything(problem, optimizer, seeds, steps):
    """Return the points (steps + 1, R, P), and losses and gradients of each step, in lists."""
    params, model = problem.init(seeds)
    state = optimizer.init(params)
    points, losses, gradients = [params.copy()], [], []
    for batch in islice(problem.batches(seeds), steps):
        point = optimizer.gradient_point(params, state)
        loss, gradient = problem.loss_and_gradient(point, batch, model)
        losses.append(loss.copy())
        gradients.append(gradient.copy())
        optimizer.step(params, gradient, state)
        points.append(params.copy())
    return points, losses, gradients


def length(numbers):
    return math.sqrt(math.fsum(number**2 for number in numbers))


def path_metrics(points, gradients, step, run):
    """Return gradient norm, update norm and cosine of one run at one step, NaN where undefined."""
    if step == 0:
        return math.nan, math.nan, math.nan
    update = (points[step][run] - points[step - 1][run]).tolist()
    cosine = math.nan
    if step > 1:
        before = (points[step - 1][run] - points[step - 2][run]).tolist()
        both = length(update) * length(before)
        inner = math.fsum(a * b for a, b in zip(update, before, strict=True))
        cosine = inner / both if both else math.nan
    return length(gradients[step - 1][run].tolist()), length(update), cosine
