"""Generators for the tests of the orthogonal maps: random ones and ones of a given condition number."""

import numpy as np


def normal(size, seed=0):
    """Independent N(0, 1) entries, [size, size], as every layer starts."""
    return np.random.default_rng([seed, size]).normal(size=(size, size))


def orthogonal(size, seed=0):
    """A random orthogonal matrix."""
    factor, triangle = np.linalg.qr(normal(size, seed))
    return factor * np.sign(np.diag(triangle))


def with_values(values, seed=0):
    """A random matrix that has `values` as its singular values."""
    size = len(values)
    return orthogonal(size, seed) * values @ orthogonal(size, seed + 1).T


def with_condition(size, condition, seed=0):
    """A random matrix of the given condition number, its singular values in geometric progression from 1 down."""
    return with_values(np.geomspace(1, 1 / condition, size), seed)


def orthogonality_error(rotation):
    """The Frobenius norm of Q Q^T - I, summed in float64."""
    rotation = np.asarray(rotation, np.float64)
    return np.linalg.norm(rotation @ rotation.T - np.eye(len(rotation)))
