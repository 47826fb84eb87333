"""Writes goldens.npz: where the libraries' optimizers arrive, for tests that run without the libraries.

Run ``python tests/parity/generate_goldens.py`` with PyTorch, optax and Keras installed. The file holds

- ``about``: JSON of the libraries' versions and of all settings,
- ``network_gradients``: gradients (200, 3, 24) recorded from the digits network,
- ``<rule>/<library>/<road>``: the library's parameters (4, 3, 24) after steps 1, 2, 20 and 200,
- ``losses/<rule>``: PyTorch's losses (200,) when it trains the digits network.
"""

from __future__ import annotations

import json

import numpy as np
from libraries import library_path, versions
from networks import SEED, TRAININGS, fingerprint, pytorch_losses
from trajectories import CASES, CHECKPOINTS, GOLDENS, record_network_gradients, roads

from optimlab.problems import Digits

AT = np.array(CHECKPOINTS) - 1


def main() -> None:
    recorded = record_network_gradients()
    arrays: dict[str, np.ndarray] = {"network_gradients": recorded}
    for case in CASES:
        for name in case.roads:
            arrays[f"{case}/{name}"] = library_path(case, roads(recorded)[name])[AT]
    for rule, hyperparameters in TRAININGS.items():
        arrays[f"losses/{rule}"] = pytorch_losses(Digits(dtype="float64"), rule, hyperparameters)[0]
    about = {
        "versions": versions(),
        "settings": {str(case): case.settings for case in CASES},
        "trainings": TRAININGS,
        "seed": SEED,
        "fingerprint": fingerprint(Digits(dtype="float64")),
    }
    np.savez_compressed(GOLDENS, about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    main()
