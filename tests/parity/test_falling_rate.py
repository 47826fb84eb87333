"""SGD whose learning rate falls: the velocity falls with it where the rate is outside of the velocity.

optimlab, Keras and scikit-learn have the rate inside (v ← μ v + η g; w ← w − v), PyTorch and optax
outside (v ← μ v + g; w ← w − η v). While the rate is constant nobody can tell.
"""

import numpy as np
import pytest
from libraries import MODULES
from trajectories import TOLERANCE, largest_difference, record_network_gradients

from optimlab.optimizers import SGD

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras on PyTorch
]

HIGH, LOW, MOMENTUM = 0.1, 0.01, 0.9
FALL = 100  # steps at the high rate


@pytest.fixture(scope="module")
def gradients():
    return record_network_gradients()[:, 0].astype(np.float64)


def optimlab(gradients, *, velocity_falls):
    """Return the path (steps, P) from 0."""
    params = np.zeros(gradients.shape[1])
    state = SGD().init(params)
    path = []
    for number, gradient in enumerate(gradients):
        if number == FALL and velocity_falls:
            state["velocity"] *= LOW / HIGH
        rate = HIGH if number < FALL else LOW
        SGD(learning_rate=rate, momentum=MOMENTUM).step(params, gradient, state)
        path.append(params.copy())
    return np.array(path)


def pytorch(gradients):
    import torch

    params = torch.nn.Parameter(torch.zeros(gradients.shape[1], dtype=torch.float64))
    optimizer = torch.optim.SGD([params], lr=HIGH, momentum=MOMENTUM)
    for number, gradient in enumerate(gradients):
        if number == FALL:
            optimizer.param_groups[0]["lr"] = LOW
        params.grad = torch.tensor(gradient)
        optimizer.step()
        yield params.detach().numpy().copy()


def optax(gradients):
    import jax
    import optax

    schedule = optax.piecewise_constant_schedule(HIGH, {FALL: LOW / HIGH})
    optimizer = optax.sgd(schedule, momentum=MOMENTUM)
    params = jax.numpy.zeros(gradients.shape[1])
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(jax.numpy.asarray(gradient), state)
        params = optax.apply_updates(params, updates)
        yield np.array(params)


def keras(gradients):
    import keras

    keras.config.set_floatx("float64")
    optimizer = keras.optimizers.SGD(HIGH, momentum=MOMENTUM)
    params = keras.Variable(np.zeros(gradients.shape[1]), dtype="float64")
    for number, gradient in enumerate(gradients):
        if number == FALL:
            optimizer.learning_rate = LOW
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [params])
        yield keras.ops.convert_to_numpy(params.value).copy()


def scikit_learn(gradients):
    from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

    params = [np.zeros(gradients.shape[1])]
    optimizer = SGDOptimizer(params, HIGH, momentum=MOMENTUM, nesterov=False)
    for number, gradient in enumerate(gradients):
        if number == FALL:
            optimizer.learning_rate = LOW
        optimizer.update_params(params, [gradient])
        yield params[0].copy()


@pytest.mark.parametrize(
    ("library", "path", "velocity_falls"),
    [
        ("PyTorch", pytorch, True),
        ("optax", optax, True),
        ("Keras", keras, False),
        ("scikit-learn", scikit_learn, False),
    ],
)
def test_the_velocity_falls_where_the_rate_is_outside(library, path, velocity_falls, gradients):
    pytest.importorskip(MODULES[library])
    theirs = np.array(list(path(gradients)))
    same = optimlab(gradients, velocity_falls=velocity_falls)
    other = optimlab(gradients, velocity_falls=not velocity_falls)
    assert largest_difference(same, theirs) <= TOLERANCE
    assert largest_difference(other, theirs) > 1e-2
