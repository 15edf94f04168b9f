"""Evaluation over a whole test set, with every kernel computed once."""

import dataclasses

import numpy as np

from common.compat import tf
from common.data import batches
from common.data.store import store
from common.distributed import collectives
from common.distributed.cluster import ALONE
from common.distributed.collectives import Kind
from common.graph import variables
from common.graph.functions import shared
from common.nn import kernels, losses, metrics
from common.nn.layers import Mode

ENERGY_POWERS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class Figures:
    """Means over all test images: cross-entropy (plain, in nats), top-1 and top-k error (shares of 1).

    `not_finite` is the number of images with a score that is not a finite number; they count as errors.
    """

    cross_entropy: float
    error: float
    error_k: float
    k: int
    not_finite: int = 0

    def __str__(self):
        bad = f", {self.not_finite} images with scores that are not finite" if self.not_finite else ""
        return (
            f"cross_entropy = {self.cross_entropy:.4f}, err = {100 * self.error:.4f} %, "
            f"err_{self.k} = {100 * self.error_k:.4f} %{bad}"
        )


class Evaluation:
    """The evaluation pass of a problem, over the variables of replica 0.

    Built after the training pass it shares that one's kernels; built alone it makes the variables. The processes of a
    cluster deal out the batches between them.
    """

    def __init__(self, problem, dtype=tf.float32, device=None, cluster=ALONE):
        dataset = problem.dataset
        self._k = problem.k
        self._batch_size = min(problem.vali_batch_size, len(dataset.test_images))
        self._cluster = cluster
        self._rounds = -(-len(dataset.test_images) // (self._batch_size * cluster.count))
        tf.set_random_seed(problem.seed)
        with tf.device(device), tf.variable_scope("", reuse=tf.AUTO_REUSE):
            self.store = store(dataset.test_images, dataset.test_labels, "test_set")
            self._index = tf.placeholder_with_default(tf.zeros([], tf.int64), [], name="test_batch")
            self.images, self.labels, weights = batches.evaluation_batch(
                self.store, self._index, self._batch_size, problem.pipeline, dtype
            )
            variables.global_step()
            self.logits = problem.logits(self.images, Mode(False, problem.batch_norm))
            of_images = (
                losses.cross_entropy(self.logits, self.labels),
                metrics.errors(self.logits, self.labels),
                metrics.errors(self.logits, self.labels, problem.k),
                1.0 - tf.cast(tf.reduce_all(tf.math.is_finite(self.logits), axis=-1), tf.float32),
            )
            weights = tf.cast(weights, tf.float64)
            sums = [tf.reduce_sum(weights * tf.cast(value, tf.float64)) for value in of_images]
            self._wish = tf.placeholder_with_default(tf.zeros([], tf.float64), [])
            self._sums = collectives.summed(tf.stack([*sums, self._wish]), cluster, Kind.EVALUATION)
            self._rotated = [kernel.tensor for kernel in kernels.rotated_layers()]
            self._geometry = _geometry()

    def frozen(self, session):
        """Returns {kernel computed by a map: its value}, to be fed."""
        return dict(zip(self._rotated, session.run(self._rotated)))

    def figures(self, session, stopping=lambda: False, scores=None, frozen=None):
        """Returns the `Figures` of the whole test set; every image counts once, whatever the batch size.

        `frozen` are the kernels, if they have been computed. It asks `stopping()` before each batch; once that is true,
        it returns None, in all processes of a cluster. To a list `scores` it adds the class scores of all images, one
        array [images, classes]; in one process only.
        """
        frozen = self.frozen(session) if frozen is None else frozen
        total, count, logits = np.zeros(4), self._cluster.count, []
        fetched = [self._sums] if scores is None else [self._sums, self.logits]
        for index in range(self._cluster.index, self._rounds * count, count):  # beyond the last batch weights are 0
            wish = stopping()
            if wish and count == 1:
                return None
            (*sums, wishes), *rest = session.run(fetched, {self._index: index, self._wish: float(wish), **frozen})
            if wishes:
                return None
            total += sums
            logits += rest
        if scores is not None:
            scores.append(np.concatenate(logits)[: self.store.size])
        *means, _ = (total / self.store.size).tolist()
        return Figures(*means, k=self._k, not_finite=round(total[3]))

    def geometry(self, session, frozen=None):
        """Returns what OPT is about, per layer: {"energy_s": {layer: mean energy}, "orthogonality": {layer: error}}.

        `frozen` are the kernels, if they have been computed; generators are those of this process's first replica.

        energy_0, energy_1 and energy_2 are hyperspherical energies of all conv kernels but 1x1 ones; orthogonality is
        ||QQ^T - I||_F of those that are rotated.
        """
        return session.run(self._geometry, self.frozen(session) if frozen is None else frozen)


def _geometry():
    neurons = [kernel for kernel in kernels.of_layers() if kernel.tensor.shape[0] > 1]
    energies = {kernel.layer: tf.unstack(shared(_energies)(kernel.matrix)) for kernel in neurons}
    figures = {
        f"energy_{power}": {layer: of_layer[index] for layer, of_layer in energies.items()}
        for index, power in enumerate(ENERGY_POWERS)
    }
    errors = {}
    for kernel in kernels.rotated_layers():
        # One after the other: what each needs on the way is not in memory together.
        with tf.control_dependencies(list(errors.values())[-1:]):
            generator = tf.identity(kernel.generator)
        errors[kernel.layer] = shared(_orthogonality_error, kernel.rotate)(generator)
    return figures | {"orthogonality": errors}


def _energies(weights):
    return tf.stack([metrics.hyperspherical_energy(weights, power) for power in ENERGY_POWERS])


def _orthogonality_error(rotate, generator):
    return metrics.orthogonality_error(kernels.rotation(rotate, generator))
