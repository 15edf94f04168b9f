"""Evaluation over a whole test set, with every kernel computed once."""

import contextlib
import dataclasses

import numpy as np

from common.compat import tf
from common.console import say
from common.data import batches
from common.data.store import store
from common.distributed import collectives
from common.distributed.cluster import ALONE
from common.distributed.collectives import Kind
from common.graph import variables
from common.nn import kernels, losses, metrics
from common.nn.layers import Mode
from common.runs import checkpoints
from common.training.problem import build
from common.training.statistics import Precise

ENERGY_POWERS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Means over all test images: cross-entropy (plain, in nats), top-1 and top-k error (shares of 1).

    `k` is that of the top-k error; None where there are no more classes, and the error would be 0. `not_finite`
    is the number of images with a score that is not a finite number; they count as errors.
    """

    cross_entropy: float
    error: float
    error_k: float
    k: int | None
    not_finite: int = 0

    def errors(self):
        """Returns {"error": percent, "error_5": percent}, the second only if `k` is set, here 5."""
        return {"error": 100.0 * self.error} | ({f"error_{self.k}": 100.0 * self.error_k} if self.k else {})

    def percentages(self):
        """Returns {metric: value} for a run's metrics, errors in percent."""
        return {"cross_entropy": self.cross_entropy, **self.errors()}

    def __str__(self):
        errors = "".join(f", {name.replace('error', 'err')} = {value:.4f} %" for name, value in self.errors().items())
        bad = f", {self.not_finite} images with scores that are not finite" if self.not_finite else ""
        return f"cross_entropy = {self.cross_entropy:.4f}{errors}{bad}"


class Evaluation:
    """The evaluation pass of a problem, over the variables of replica 0.

    The processes of a cluster deal out the batches between them.

    Args:
      problem: a `Problem`.
      of_layers: {scope: `Kernel`} of the training pass in this graph; None makes kernels and variables.
      cluster: a `Cluster`.
      part: a `Part` of the data set; None for the one on which it is validated.
      dtype: of images and variables.

    Attributes:
      kernels: {scope: `Kernel`}.
      split: what the part is called: "test" or "holdout".
    """

    def __init__(self, problem, of_layers=None, cluster=ALONE, part=None, dtype=tf.float32):
        self.split, images, labels = part or problem.dataset.validation()
        self._k = problem.k if problem.k < problem.dataset.classes else None
        self._batch_size = min(problem.vali_batch_size, len(images))
        self._cluster = cluster
        self._rounds = -(-len(images) // (self._batch_size * cluster.count))
        tf.set_random_seed(problem.seed)
        with tf.variable_scope("", reuse=tf.AUTO_REUSE):
            self.store = store(images, labels, f"{self.split}_set")
            self._index = tf.placeholder_with_default(tf.zeros([], tf.int64), [], name="test_batch")
            self.images, self.labels, weights = batches.evaluation_batch(
                self.store, self._index, self._batch_size, problem.pipeline, dtype
            )
            variables.global_step()
            self.kernels = problem.kernels(dtype) if of_layers is None else of_layers
            tensors = {scope: kernel.tensor for scope, kernel in self.kernels.items()}
            self.logits = problem.logits(self.images, tensors, Mode(False, problem.batch_norm))
            of_images = (
                losses.cross_entropy(self.logits, self.labels),
                metrics.errors(self.logits, self.labels),
                metrics.errors(self.logits, self.labels, problem.k),
                1.0 - tf.cast(tf.reduce_all(tf.math.is_finite(self.logits), axis=-1), tf.float32),
            )
            weights = tf.cast(weights, tf.float64)
            sums = [tf.reduce_sum(weights * tf.cast(value, tf.float64)) for value in of_images]
            self._sums = collectives.summed(tf.stack(sums), cluster, Kind.EVALUATION)
            self._mapped = {scope: kernel for scope, kernel in self.kernels.items() if kernel.rotate is not None}
            self._energies = _energies(self.kernels)
            self._errors = _orthogonality_errors(self._mapped)

    def frozen(self, session):
        """Returns {kernel computed by a map: its value}, to be fed."""
        tensors = [kernel.tensor for kernel in self._mapped.values()]
        return dict(zip(tensors, session.run(tensors)))

    def metrics(self, session, stopping=lambda: False, scores=None, frozen=None):
        """Returns the `Metrics` of the whole test set; every image counts once, whatever the batch size.

        `frozen` are the kernels, if they have been computed.
        In one process only: `stopping()` is asked before each batch, and once it is true the result is None; the class
        scores of all images, one array [images, classes], are added to a list `scores`.
        """
        frozen = self.frozen(session) if frozen is None else frozen
        total, count, logits = np.zeros(4), self._cluster.count, []
        fetched = [self._sums] if scores is None else [self._sums, self.logits]
        for index in range(self._cluster.index, self._rounds * count, count):  # beyond the last batch weights are 0
            if stopping():
                return None
            sums, *rest = session.run(fetched, {self._index: index, **frozen})
            total += sums
            logits += rest
        if scores is not None:
            scores.append(np.concatenate(logits)[: self.store.size])
        *means, _ = (total / self.store.size).tolist()
        return Metrics(*means, k=self._k, not_finite=round(total[3]))

    def geometry(self, session, frozen=None):
        """Returns what OPT is about, per layer: {"energy_s": {layer: mean energy}, "orthogonality": {layer: error}}.

        `frozen` are the kernels, if they have been computed; generators are those of this process's first replica.

        energy_0, energy_1 and energy_2 are hyperspherical energies of all conv kernels but 1x1 ones; orthogonality is
        ||QQ^T - I||_F of those that are rotated.
        """
        energies = session.run(self._energies, self.frozen(session) if frozen is None else frozen)
        found = {
            f"energy_{power}": {scope: float(of_layer[index]) for scope, of_layer in energies.items()}
            for index, power in enumerate(ENERGY_POWERS)
        }
        errors = {}
        for scope, kernel in self._mapped.items():  # one after the other: what each needs is not in memory together
            fed, error = self._errors[kernel.rotate, int(kernel.generator.shape[0])]
            errors[scope] = float(session.run(error, {fed: session.run(kernel.generator)}))
        return found | {"orthogonality": errors}


@contextlib.contextmanager
def opened(problem, chosen, checkpoint, batches=None, log_placement=False):
    """Yields (session, `Evaluation`) of a checkpoint on the test set, or on what there is in its place.

    Args:
      problem: the `Problem` that was trained.
      chosen: `Devices`.
      checkpoint: its path.
      batches: from how many training batches the averages of batch norm are made anew (see statistics.py), or None.
      log_placement: as for `Devices.session`.
    """
    training = build(problem, chosen.names) if batches else None
    evaluation = Evaluation(problem, training.kernels[0] if batches else None, part=problem.dataset.parts()[-1])
    precise = Precise(training, batches) if batches else None
    with chosen.session(log_placement) as session:
        session.run(tf.global_variables_initializer())
        for store in [evaluation.store, *(training.stores if batches else [])]:
            store.fill(session)
        for replica in range(len(chosen.names) if batches else 1):
            checkpoints.load(session, checkpoint, checkpoints.model_variables(replica))
        if batches:
            precise.make(session)
            say(precise.line)
        yield session, evaluation


def _energies(of_layers):
    """Returns {scope: energies} of all convs but 1x1 ones."""
    return {
        scope: tf.stack([metrics.hyperspherical_energy(kernel.matrix, power) for power in ENERGY_POWERS])
        for scope, kernel in of_layers.items()
        if kernel.tensor.shape.rank == 4 and kernel.tensor.shape[0] > 1
    }


def _orthogonality_errors(mapped):
    """Returns {(map, n): (placeholder of a generator, ||QQ^T - I||)}: layers of one size share it, one at a time."""
    found = {}
    for kernel in mapped.values():
        key = kernel.rotate, int(kernel.generator.shape[0])
        if key not in found:
            fed = tf.placeholder(kernel.generator.dtype.base_dtype, kernel.generator.shape)
            found[key] = fed, metrics.orthogonality_error(kernels.rotation(kernel.rotate, fed))
    return found
