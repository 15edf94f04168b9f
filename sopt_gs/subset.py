"""Stochastic OPT: only a random subset of a layer's input dimensions is turned at a time (Liu et al., section 3.4)."""

import dataclasses
from collections.abc import Callable

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn import kernels

_LAYERS = "sopt_gs/layers"


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A layer of which a subset of the input dimensions is turned, as merging needs it."""

    weights: tf.Variable
    generator: tf.Variable
    subset: tf.Variable
    effective: tf.Tensor
    replica: int
    start: Callable


def subset_rotated(rotate, ratio, start=initializers.identity):
    """Returns a kernel factory: W0 with `p` of its rows turned by an orthogonal matrix Q(P), the others as they are.

    Args:
      rotate: a map, as for `kernels.rotated`.
      ratio: share of the input channels; p = k * k * max(1, floor(c_in * ratio)) of the n = k * k * c_in rows.
      start: initial value of P, with Q(P) = I.

    Creates `fix` [n, m], `rotation` [p, p], and `subset` int32 [p].
    """

    def kernel(shape, dtype):
        if known := kernels.recorded(shape):
            return known.tensor
        size, _, channels, outputs = shape
        rows, chosen = size * size * channels, size * size * max(1, int(channels * ratio))
        weights = variables.create("fix", [rows, outputs], Role.FIXED, initializers.he_normal, dtype)
        generator = variables.create("rotation", [chosen, chosen], Role.GENERATOR, start, dtype)
        subset = variables.create("subset", [chosen], Role.SUBSET, _first_subset(rows), tf.int32)
        fixed, indices = tf.convert_to_tensor(weights), tf.convert_to_tensor(subset)
        first = kernels.two_at_a_time(tf.convert_to_tensor(generator), kernels.earlier())
        turned = kernels.turned_by(rotate, first, tf.gather(fixed, indices))
        effective = tf.tensor_scatter_nd_update(fixed, indices[:, None], turned)
        replica = variables.current_replica()
        tf.add_to_collection(_LAYERS, _Layer(weights, generator, subset, effective, replica, start))
        freedom = chosen * (chosen - 1) // 2
        read = tf.convert_to_tensor(generator)
        return kernels.record(tf.reshape(effective, shape), rotate, read, freedom, turned, generator)

    return kernel


def merge(episode, optimizer, replica=0):
    """Returns the op that ends an episode: the effective kernels become W0, and the turning starts afresh.

    For every layer of one replica: W0 <- the kernel in use; P <- its start, where Q = I; P's slots of `optimizer` <- 0;
    subset <- the draw of `episode`, the number of the one that begins. The kernel in use is the same before and after,
    as exactly as the map gives the identity. All new values are computed before any is written.
    """
    values = []
    for layer in (layer for layer in tf.get_collection(_LAYERS) if layer.replica == replica):
        rows, chosen = int(layer.weights.shape[0]), int(layer.subset.shape[0])
        values += [
            (layer.weights, tf.identity(layer.effective)),
            (layer.generator, layer.start([chosen, chosen], layer.generator.dtype.base_dtype, None)),
            (layer.subset, draw(variables.key_of(layer.subset.op.name, episode), rows, chosen)),
        ]
        slots = [optimizer.get_slot(layer.generator, name) for name in optimizer.get_slot_names()]
        values += [(slot, tf.zeros_like(slot)) for slot in slots]
    with tf.control_dependencies([value for _, value in values]):
        return tf.group(*[variable.assign(value, read_value=False) for variable, value in values])


def draw(key, rows, chosen):
    """Returns `chosen` different numbers of 0 .. rows - 1 in ascending order, int32; every subset is equally likely.

    They are the places of the largest of `rows` random numbers, a function of the int64 [2] `key`.
    """
    return tf.sort(tf.math.top_k(tf.random.stateless_uniform([rows], key), chosen).indices)


def _first_subset(rows):
    def initial(shape, dtype, seed):
        return draw(variables.key_of(f"{tf.get_variable_scope().name}/subset", 0), rows, int(shape[0]))

    return initial
