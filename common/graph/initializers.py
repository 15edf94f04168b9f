"""Initial values of variables: functions (shape, dtype, seed) -> tensor; `seed` is a pair of integers."""

import numpy as np

from common.compat import tf


def zeros(shape, dtype, seed):
    return tf.zeros(shape, dtype)


def ones(shape, dtype, seed):
    return tf.ones(shape, dtype)


def identity(shape, dtype, seed):
    """The identity matrix; `shape` is [n, n]."""
    return tf.eye(int(shape[0]), int(shape[1]), dtype=dtype)


def normal(standard_deviation=1.0):
    """Independent N(0, standard_deviation^2)."""

    def initial(shape, dtype, seed):
        return standard_deviation * tf.random.stateless_normal(shape, seed, dtype=dtype)

    return initial


def unit_normal(axis):
    """Independent N(0, 1) brought to norm 1 along `axis`: vectors in directions that are all equally likely."""

    def initial(shape, dtype, seed):
        raw = normal(1.0)(shape, dtype, seed)
        return raw / tf.norm(raw, axis=axis, keepdims=True)

    return initial


def he_normal(shape, dtype, seed):
    """Independent N(0, 2 / n), n the inputs of a neuron: the product of all axes but the last (He et al., 2015)."""
    return normal(np.sqrt(2.0 / _inputs(shape)))(shape, dtype, seed)


def lecun_normal(shape, dtype, seed):
    """Independent N(0, 1 / n), n as in `he_normal`: neurons of length 1 on average (LeCun et al., 1998)."""
    return normal(np.sqrt(1.0 / _inputs(shape)))(shape, dtype, seed)


def _inputs(shape):
    return int(np.prod([int(size) for size in shape[:-1]]))


def unit_neurons(shape, dtype, seed):
    """Truncated normals scaled so that every neuron (all axes but the last) has norm 1."""
    raw = tf.random.stateless_truncated_normal(shape, seed, dtype=dtype)
    return raw / tf.sqrt(tf.reduce_sum(tf.square(raw), axis=list(range(len(shape) - 1)), keepdims=True))
