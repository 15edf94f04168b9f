"""Householder reflections: P = Q R, Q = H_1 ... H_{n-1}, each H_i sending its column to +norm * e_1.

One of the maps of OPT (Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3).

The QR factors are unique up to signs. The reflections make R_ii > 0 for i < n and, being n - 1, det Q = (-1)^(n-1),
which settles the sign of the last column. So the columns of P are orthonormalised, P^T = L S with S orthogonal, as
fast as by Gram-Schmidt, and the last row of S gets the sign that the product of the reflections has: Q = S^T D.
"""

import functools

import numpy as np

from common.compat import tf
from common.graph import orthonormal
from common.graph.members import run_algorithm


def householder(generator, weights, algorithm="auto", names=None):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W = S^T (D W): W' = D (S G), and as the gradient of S is (D W) G^T, that of P^T is
    L^-T U S with U the strict upper triangle of (D W)(S G)^T - (S G)(D W)^T.

    Args:
      generator: P [..., n, n] with n >= 1, float32 or float64. Q does not depend on the scale of its columns.
      weights: W [..., n, m], of the same type. With the identity the result is Q.
      algorithm: how to factor, see `orthonormal.factor`.
      names: of the members of the batch, for messages.

    Returns Q W [..., n, m], of the same type.

    Raises:
      ValueError: arguments do not fit.
      tf.errors.InvalidArgumentError: when run, a generator is not finite, a column of it is zero, or one before the
        last depends on those before it. The last may: Q is made of the n - 1 columns before it.
    """
    return run_algorithm("householder", _ALGORITHMS, algorithm, generator, weights, names)


def _rotate(generator, weights, members, algorithm):
    size = int(generator.shape[-1])
    factors = orthonormal.factor(generator, members, by_rows=False, algorithm=algorithm)
    last = (-1.0) ** (size - 1) * _determinant_sign(factors.rows, members)
    is_last = (np.arange(size) == size - 1)[:, np.newaxis]
    signs = tf.where_v2(is_last, last[:, tf.newaxis, tf.newaxis], tf.constant(1, last.dtype))
    signed = signs * weights

    def gradient(upstream):
        of_signed = tf.matmul(factors.rows, upstream)
        return orthonormal.pull_back(factors, signed, of_signed), signs * of_signed

    return tf.matmul(factors.rows, signed, transpose_a=True), gradient


def _determinant_sign(rotation, members):
    """Returns the signs [b] of the determinants of orthogonal matrices [b, n, n].

    The complementary blocks of Q = [[A, B], [C, D]] have det A = det Q det D (Jacobi), so two small determinants do.
    Where they are too small to be trusted, which shows in their difference, Q's own is taken.
    """
    # Not simply half: LU decompositions are slow where a row's length is a power of two.
    half = int(rotation.shape[-1]) * 9 // 17
    sign, magnitude = tf.linalg.slogdet(rotation[:, :half, :half])
    other_sign, other_magnitude = tf.linalg.slogdet(rotation[:, half:, half:])
    agree = tf.abs(magnitude - other_magnitude) < 0.1
    return members.replace(agree, sign * other_sign, lambda _, whole: tf.linalg.slogdet(whole)[0], rotation)


_ALGORITHMS = {name: functools.partial(_rotate, algorithm=name) for name in orthonormal.ALGORITHMS}
householder.algorithms = tuple(_ALGORITHMS)
householder.scale_free_axis = -2  # columns
