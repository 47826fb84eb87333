"""Supervised learning: a network learns a data set by a loss, in mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from threading import get_ident
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge

from optimlab.data.dataset import Dataset, Part, Split, prepare, unmasked
from optimlab.nn.losses import Blocks, Loss
from optimlab.nn.network import Model, Network
from optimlab.nn.parameters import Layout
from optimlab.problems.seeds import generator
from optimlab.problems.settings import Learning
from optimlab.validation import checked, kind_of

Array = np.ndarray

# From outputs (R, C, N) of a whole part and its targets, as `Loss.metrics` has them, to numbers (R,).
OwnMetric = Callable[[Array, Array], Array]


class NamedMetric(NamedTuple):
    """A user-defined metric and the name of its columns."""

    label: str
    made: OwnMetric


# A run whose final loss is at or above this share of a blind guess's loss has learnt nothing.
STUCK_SHARE = 0.99

FEW_SAMPLES = 4  # batch norm with no more samples in a batch gives a warning


@dataclass
class Resampled(Model):
    """The model of runs that have a split each, drawn by their seeds.

    Attributes
    ----------
    parts : role → features (R, N, F) and targets, labels (R, N) or numbers (R, K, N).
    scale : the unit of each scaled target in the data's units (R, K).
    """

    parts: dict[str, Part]
    scale: Array


class Supervised:
    """Data, a network and a loss.

    Parameters
    ----------
    data : the data set.
    network : with an input per feature and an output per class or target.
    loss : a loss for the data's task.
    batch_size : samples per step. The last batch of an epoch may be smaller.
    metrics : name → a metric to record of each part, besides those of the loss.
    learning : the settings of `Learning`: split, scaling, target_scaling and l2.

    Examples
    --------
    >>> from optimlab.data.bundled import load_bundled
    >>> from optimlab.nn.losses import CrossEntropy
    >>> from optimlab.nn.network import perceptron
    >>> wine = Supervised(load_bundled("wine"), perceptron(13, [(8, "relu")], 3), CrossEntropy(), 32)
    >>> {role: len(part.targets) for role, part in wine.parts.items()}
    {'train': 106, 'validation': 36, 'test': 36}
    """

    def __init__(
        self,
        data: Dataset,
        network: Network,
        loss: Loss,
        batch_size: int = 32,
        metrics: Mapping[str, OwnMetric] | None = None,
        **learning: Any,
    ) -> None:
        self._data, self._network, self._loss = data, network, loss
        self._batch = checked(Annotated[int, Ge(1)], batch_size, "batch_size")
        self._learning = Learning(**learning)
        self.metrics = tuple(NamedMetric(*each) for each in (metrics or {}).items())

    metrics: Sequence[Any]  # each with a label and a function, `made`

    # A problem that is read from a file derives these from its settings.

    @property
    def dataset(self) -> Dataset:
        """The data set."""
        return self._data

    @property
    def network(self) -> Network:
        """The network; each thread has its own, since layers keep what their backward pass needs."""
        own = self._networks.get(get_ident())
        if own is None:
            own = self._networks[get_ident()] = self._new_network()
        return own

    @cached_property
    def _networks(self) -> dict[int, Network]:
        """Thread → its network."""
        return {}

    def _new_network(self) -> Network:
        return deepcopy(self._network)

    def __getstate__(self) -> dict[str, Any]:  # another process makes its own networks, too
        return {name: value for name, value in vars(self).items() if name != "_networks"}

    @property
    def objective(self) -> Loss:
        """The loss, without a penalty."""
        return self._loss

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self._batch

    @property
    def learning(self) -> Learning:
        """How the data are prepared, and the penalty added to the loss."""
        return self._learning

    @property
    def own_metrics(self) -> dict[str, OwnMetric]:
        """The metrics recorded of each part, besides those of the loss: name → function."""
        return {metric.label: metric.made for metric in self.metrics}

    @property
    def dtype(self) -> str:
        """The type of the parameters: "float32" or "float64"."""
        return self.network.dtype.name

    def rows(self, seed: int | None = None) -> dict[str, Array]:
        """Return role → rows of the data; for a run's seed if each run draws its own split.

        Raises
        ------
        DataError
            As `Split.rows` does.
        """
        split = self.learning.split
        if split is None and self.dataset.splits is not None:
            return dict(self.dataset.splits)
        split = split or Split()
        drawn_by = seed if split.resample and seed is not None else split.seed
        return split.rows(self.dataset, generator(drawn_by, "split"))

    @property
    def is_resampled(self) -> bool:
        """Whether each run draws its own split, by its seed."""
        return self.learning.split is not None and self.learning.split.resample

    @cached_property
    def _prepared(self) -> tuple[dict[str, Part], Array]:
        return self._prepare(self.rows())

    def _prepare(self, rows: dict[str, Array]) -> tuple[dict[str, Part], Array]:
        return prepare(
            self.dataset, rows, self.learning.scaling, self.learning.target_scaling, self.dtype
        )

    @property
    def parts(self) -> dict[str, Part]:
        """Scaled features and targets by role, of the split drawn by the split's own seed."""
        return self._prepared[0]

    @cached_property
    def _inputs(self) -> dict[str, Array]:
        """Role → features of all samples (F, N), which all runs share."""
        return {role: self.network.arranged(part.features) for role, part in self.parts.items()}

    @property
    def train_size(self) -> int:
        """The number of training samples."""
        return len(self.parts["train"].targets)

    @property
    def layout(self) -> Layout:
        """The position of each named parameter in the flat row."""
        return self.network.layout

    @property
    def size(self) -> int:
        """The number of the network's parameters."""
        return self.network.size

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that show every training sample once."""
        return -(-self.train_size // self.batch)

    @property
    def extra_metrics(self) -> tuple[str, ...]:
        """Names of metrics that `evaluate` returns besides the usual ones."""
        usual = () if self.objective.task == "classification" else ("r2", "rmse")
        return tuple(f"{role}_{name}" for name in (*usual, *self.own_metrics) for role in self.parts)

    @property
    def run_bytes(self) -> int:
        """Approximate working memory of one run in a step, in bytes: five rows, and the activations."""
        layers = self.network.layers
        widths = sum(layer.outputs for layer in layers if any(len(s) > 1 for s in layer.shapes.values()))
        features = self.network.inputs + 3 * widths
        numbers = 5 * self.network.size + features * self.batch
        if self.is_resampled:
            numbers += self.dataset.features.size
        return self.network.dtype.itemsize * numbers

    @cached_property
    def stuck_loss(self) -> float:
        """Final training loss at or above which a run is no better than the best constant guess.

        For classes it is their shares, with a loss of about ln C; for numbers it is the mean.
        """
        return STUCK_SHARE * self.objective.blind(self.parts["train"].targets.T)

    @property
    def loss_unit(self) -> str:
        """The unit of the loss; "" for none."""
        return self.objective.unit

    @property
    def baseline(self) -> str:
        """What a run at the `stuck_loss` is no better than."""
        return "guessing" if self.objective.task == "classification" else "predicting the mean"

    def summary(self) -> str:
        """Return a table of the network's layers."""
        return self.network.summary(self.objective.link)

    def init(self, seeds: Sequence[int]) -> tuple[Array, Model]:
        """Return the initial parameters (R, P), one row per seed, and their model."""
        params = self.network.initial_params([generator(seed, "initial_params") for seed in seeds])
        model = self.network.model([generator(seed, "model") for seed in seeds])
        return params, self._resampled(seeds, model) if self.is_resampled else model

    def _resampled(self, seeds: Sequence[int], model: Model) -> Resampled:
        prepared = [self._prepare(self.rows(seed)) for seed in seeds]
        parts = {
            role: Part(
                np.stack([split[role].features for split, _ in prepared]),
                np.stack([split[role].targets.T for split, _ in prepared]),
            )
            for role in prepared[0][0]
        }
        return Resampled(model.runs, model.states, parts, np.stack([scale for _, scale in prepared]))

    def batches(self, seeds: Sequence[int]) -> Iterator[Array]:
        """Yield batches without end: indices of training samples (R, B), row r for seed r.

        Each epoch is a new permutation. A batch of the whole training set needs no order, so it is a
        single row (B,) for all runs.
        """
        samples = self.train_size
        if self.batch == samples:
            while True:
                yield np.arange(samples)
        generators = [generator(seed, "batches") for seed in seeds]
        while True:
            epoch = np.stack([rng.permutation(samples) for rng in generators])
            for start in range(0, samples, self.batch):
                yield epoch[:, start : start + self.batch]

    def loss_and_gradient(self, params: Array, batch: Array, model: Model) -> tuple[Array, Array]:
        """Return the loss (R,) on the batch and its gradient (R, P), overwritten by the next call.

        The model is changed in place.

        Raises
        ------
        ValueError
            When `params`, `batch` and `model` differ in their numbers of runs.
        """
        if batch.ndim == 2 and len(batch) != len(params):
            raise ValueError(f"params has {len(params)} rows, but the batch has {len(batch)}")
        model.check(params)
        if isinstance(model, Resampled):
            x, targets = self._own_samples(batch, model)
        else:
            x, targets = self._samples(batch)
        loss, gradient = self.network.loss_and_gradient(params, x, targets, model, self.objective)
        if self.learning.l2:
            for name in self.layout.weights:
                at = self.layout.slices[name]
                w = params[:, at]
                gradient[:, at] += self.learning.l2 * w
                loss = loss + self.learning.l2 / 2 * np.vecdot(w, w)
        return loss, gradient

    def _samples(self, batch: Array) -> tuple[Array, Array]:
        """Return features (R, F, B) and targets of a batch; (F, B) if all runs share it."""
        train = self.parts["train"]
        if batch.ndim == 1 and np.array_equal(batch, np.arange(self.train_size)):
            return self._inputs["train"], train.targets.T  # the whole set, as it is
        if train.targets.ndim == 1:
            targets = train.targets.take(batch)  # raises an exception for rows that do not exist
        else:
            targets = np.moveaxis(train.targets.take(batch, axis=0), -1, -2)
        if batch.ndim == 1:
            return train.features.take(batch, axis=0).T, targets
        shape = (*batch.shape, train.features.shape[1])
        features = self.network.workspace.array("features", shape)
        train.features.take(batch, axis=0, out=features, mode="wrap")  # "raise" would copy
        return features.mT, targets

    def _own_samples(self, batch: Array, model: Resampled) -> tuple[Array, Array]:
        """Return features (R, F, B) and targets of a batch if each run has its own split."""
        train, runs = model.parts["train"], np.arange(model.runs)[:, None]
        indices = np.broadcast_to(batch, (model.runs, batch.shape[-1]))
        if train.targets.ndim == 2:
            targets = np.take_along_axis(train.targets, indices, axis=1)
        else:
            targets = np.take_along_axis(train.targets, indices[:, None], axis=2)
        return train.features[runs, indices].mT, targets

    def evaluate(self, params: Array, model: Model | None) -> dict[str, Array]:
        """Return the metrics on all samples of each role: name → (R,).

        Parameters
        ----------
        params : (R, P).
        model : the model of these runs after training; None if the parameters alone decide.

        Raises
        ------
        ValueError
            As `Network.evaluation` does, if each run has its own split and there is no model, and if a
            user-defined metric does not give one number per run.
        """
        if self.is_resampled and not isinstance(model, Resampled):
            raise ValueError(
                "each run has its own split: parameters can only be evaluated with their model"
            )
        metrics: dict[str, Array] = {}
        has_own = isinstance(model, Resampled)
        parts, scale = (model.parts, model.scale) if isinstance(model, Resampled) else self._prepared
        evaluation = self.network.evaluation(params, model)
        for role, (features, part_targets) in parts.items():
            targets = part_targets if has_own else part_targets.T
            x = features.mT if has_own else self._inputs[role]
            blocks: Blocks = evaluation.outputs(x)
            found = {}
            if self.own_metrics:
                blocks = [(part, outputs.copy()) for part, outputs in blocks]  # outputs are overwritten
                outputs = np.concatenate([outputs for _, outputs in blocks], axis=-1)
                for name, metric in self.own_metrics.items():
                    # Copies, since the targets of training are the same array.
                    found[name] = _per_run(name, metric(outputs.copy(), targets.copy("K")), len(params))
            found = self.objective.metrics(blocks, targets.copy("K"), scale) | found
            metrics |= {f"{role}_{name}": values for name, values in found.items()}
        return metrics

    def check(self) -> dict[str, str]:
        """Return mistakes in combinations of settings: key → message."""
        if self.batch > self.train_size:
            text = f"must be at most {self.train_size:,}, the size of the training set"
            return {"batch_size": f"{text}, got {self.batch:,}"}
        if self._has_batch_norm and self._smallest_batch == 1:
            text = "batch norm needs 2 or more, since it turns a single one into zeros"
            return {"batch_size": f"{self._about_smallest_batch}: {text}"}
        return {}

    def cautions(self) -> dict[str, str]:
        """Return warnings about settings that are allowed but rarely intended: key → message."""
        if self._has_batch_norm and self._smallest_batch <= FEW_SAMPLES:
            text = "batch norm estimates mean and variance from these few, which may cost accuracy"
            return {"batch_size": f"{self._about_smallest_batch}: {text}"}
        return {}

    samples_are: ClassVar[str] = "sample"  # what messages call one

    @property
    def _has_batch_norm(self) -> bool:
        return any(layer.name.startswith("batch_norm") for layer in self.network.layers)

    @property
    def _smallest_batch(self) -> int:
        """The number of samples in the last batch of an epoch."""
        return self.train_size % self.batch or self.batch

    @property
    def _about_smallest_batch(self) -> str:
        smallest, plural = self._smallest_batch, f"{self.samples_are}s"
        samples = f"1 {self.samples_are}" if smallest == 1 else f"{smallest} {plural}"
        if smallest == self.batch:
            return f"a batch has {samples}"
        return f"the last batch of an epoch, {self.train_size:,} {plural}, has {samples}"


def _per_run(name: str, values: Array, runs: int) -> Array:
    """Return a metric's values; refuse anything but one number per run."""
    array = unmasked(values)
    if array.shape != (runs,) or array.dtype.kind not in "iufb":
        got = kind_of(array if isinstance(values, list | tuple) else values)
        raise ValueError(f"the metric {name} must give an array ({runs},) of numbers, got {got}")
    return array.astype(np.float64)
