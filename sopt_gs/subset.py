"""Stochastic OPT: only a random subset of a layer's input dimensions is rotated at a time (Liu et al., section 3.4)."""

import dataclasses
from collections.abc import Callable

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn.kernels import Factory, Kernel, freedom, identity_of
from common.nn.map_batches import apply_map
from common.training.callbacks import Callback


@dataclasses.dataclass(frozen=True, eq=False)
class Subset:
    """A layer: W0 [n, m], P [p, p] and its initial value, which p of the n rows are rotated, and the kernel's shape."""

    weights: tf.Variable
    generator: tf.Variable
    indices: tf.Variable
    start: Callable
    shape: tuple


@dataclasses.dataclass(frozen=True)
class SubsetRotated(Factory):
    """Makes kernels W0 with p of their rows rotated by an orthogonal matrix Q(P), the others as they are.

    Creates `fix` [n, m], `rotation` [p, p], and `subset` int32 [p].

    Attributes:
      rotate: a map, as for `kernels.rotated`.
      ratio: share of the input channels; p = k * k * max(1, floor(c_in * ratio)) of the n = k * k * c_in rows.
    """

    rotate: Callable
    ratio: float

    def create(self, shape, dtype=tf.float32):
        size, _, channels, outputs = shape
        rows, chosen = size * size * channels, size * size * max(1, int(channels * self.ratio))
        weights = variables.create("fix", [rows, outputs], Role.FIXED, initializers.he_normal, dtype)
        start = identity_of(self.rotate)
        generator = variables.create("rotation", [chosen, chosen], Role.GENERATOR, start, dtype)
        indices = variables.create("subset", [chosen], Role.SUBSET, _first_subset(rows), tf.int32)
        return Subset(weights, generator, indices, start, shape)

    def compute(self, created, names):
        fixed = [tf.convert_to_tensor(layer.weights) for layer in created]
        indices = [tf.convert_to_tensor(layer.indices) for layer in created]
        chosen = [tf.gather(weights, rows) for weights, rows in zip(fixed, indices)]
        results = apply_map(self.rotate, [layer.generator for layer in created], chosen, names)
        kernels = []
        for layer, weights, rows, rotated in zip(created, fixed, indices, results):
            kernel = tf.reshape(tf.tensor_scatter_nd_update(weights, rows[:, None], rotated), layer.shape)
            kernels.append(Kernel(kernel, freedom(layer.generator), self.rotate, layer.generator, rotated, layer))
        return kernels

    def begin_at(self, created, kernel):
        """P is at its start: a first episode begins, as any other does, at the kernels that are there."""
        return {created.weights: kernel.reshape(created.weights.shape.as_list())}


class Episodes(Callback):
    """Merges every `episode_steps` updates: rotated kernels become W0, a new subset is drawn.

    Args:
      session: of the training graph, whose train_op has been built: the slots must be there.
      training: a `Training`; the episode that begins is its step // episode_steps.
      episode_steps: updates of an episode.
    """

    def __init__(self, session, training, episode_steps):
        self._session, self._episode_steps = session, episode_steps
        episode = training.global_step // episode_steps
        optimizers = [[optimizer for optimizer, _ in groups] for groups in training.groups]
        replicas = zip(training.kernels, optimizers)
        self._merge = tf.group(*[merge(episode, kernels.values(), own) for kernels, own in replicas])

    def after_step(self, step, values):
        if (step + 1) % self._episode_steps == 0:
            self._session.run(self._merge)


def merge(episode, kernels, optimizers):
    """Returns the op that ends an episode: the effective kernels become W0, and the rotation starts afresh.

    For every kernel of a `SubsetRotated`: W0 <- the kernel in use; P <- its start, where Q = I; P's slots <- 0; subset
    <- the draw of `episode`, the number of the one that begins. The kernel in use is the same before and after, as
    exactly as the map gives the identity. All new values are computed before any is written.
    """
    values = []
    for kernel in kernels:
        layer = kernel.created
        if not isinstance(layer, Subset):
            continue
        rows, chosen = int(layer.weights.shape[0]), int(layer.indices.shape[0])
        values += [
            (layer.weights, tf.identity(kernel.matrix)),
            (layer.generator, layer.start([chosen, chosen], layer.generator.dtype.base_dtype, None)),
            (layer.indices, draw(variables.key_of(layer.indices.op.name, episode), rows, chosen)),
        ]
        slots = [own.get_slot(layer.generator, name) for own in optimizers for name in own.get_slot_names()]
        values += [(slot, tf.zeros_like(slot)) for slot in slots if slot is not None]
    with tf.control_dependencies([value for _, value in values]):
        return tf.group(*[variable.assign(value, read_value=False) for variable, value in values])


def draw(key, rows, chosen):
    """Returns `chosen` different numbers of 0 .. rows - 1 in ascending order, int32; every subset is equally likely.

    They are the positions of the largest of `rows` random numbers, a function of the int64 [2] `key`.
    """
    return tf.sort(tf.math.top_k(tf.random.stateless_uniform([rows], key), chosen).indices)


def _first_subset(rows):
    def initial(shape, dtype, seed):
        return draw(variables.key_of(f"{tf.get_variable_scope().name}/subset", 0), rows, int(shape[0]))

    return initial
