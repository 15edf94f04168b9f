"""Householder reflections: P = Q R, Q = H_1 ... H_{n-1}, each H_i sending its column to +norm * e_1.

One of the maps of OPT (Liu et al., "Orthogonal Over-Parameterized Training", CVPR 2021, arXiv 2004.04690, section 3.3).

The QR factors are unique up to signs. The reflections make R_ii > 0 for i < n and, being n - 1, det Q = (-1)^(n-1),
which settles the sign of the last column. So the columns of P are orthonormalised, P^T = L S with S orthogonal, as
fast as by Gram-Schmidt, and the last row of S gets the sign that the product of the reflections has: Q = S^T D.
"""

import functools

import numpy as np

from common.compat import tf
from common.graph import linalg, orthonormal
from common.graph.linalg import matmul
from common.graph.members import run_algorithm

_LARGEST_INVERSE = 1e5  # rounding in float32 times it is 0.01, and its square times that in float64 1e-6


def householder(generator, weights, algorithm="auto", names=None):
    """Returns Q(generator) @ weights.

    With G the gradient of Y = Q W = S^T (D W): W' = D (S G). The gradient of S is (D W) G^T, so that of P^T is
    L^-T U S, with U the strict upper triangle of (D W)(S G)^T - (S G)(D W)^T.

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
    by_solution = algorithm == "cholesky" or algorithm == "auto" and linalg.fast_in_float64()
    sign_of = _sign_by_solution if by_solution else _sign_by_determinants
    last = (-1.0) ** (size - 1) * sign_of(factors.rows, members)
    signs = tf.where_v2(_is_last(size), last[:, tf.newaxis, tf.newaxis], tf.constant(1, last.dtype))
    signed = signs * weights

    def gradient(upstream):
        of_signed = matmul(factors.rows, upstream)
        return orthonormal.pull_back(factors, signed, of_signed), signs * of_signed

    return matmul(factors.rows, signed, transpose_a=True), gradient


def _is_last(size):
    return (np.arange(size) == size - 1)[:, np.newaxis]


def _sign_by_determinants(rotation, members):
    """Returns the signs [b] of the determinants of orthogonal matrices [b, n, n].

    The complementary blocks of Q = [[A, B], [C, D]] have det A = det Q det D (Jacobi), so two small determinants do.
    Where their sizes differ they are too small to be trusted, and Q's own determinant is taken.
    """
    # Not simply half: LU decompositions are slow where a row's length is a power of two.
    half = int(rotation.shape[-1]) * 9 // 17
    sign, magnitude = tf.linalg.slogdet(rotation[:, :half, :half])
    other_sign, other_magnitude = tf.linalg.slogdet(rotation[:, half:, half:])
    agree = tf.abs(magnitude - other_magnitude) < 0.1
    return members.replace(agree, sign * other_sign, _own_sign, rotation)


def _sign_by_solution(rotation, members):
    """Returns the same without an LU decomposition, which on a GPU takes longer than all the rest.

    With M = Q + diag(1, ..., 1, 0) = [[I + A, b], [c^T, d]] the last number of M^-1 e_n is 1 / (d - c^T (I + A)^-1 b).
    It is det Q: det M = det(I + A) (d - c^T (I + A)^-1 b) has the sign of det Q, and det(I + A) is positive. Cholesky's
    factor T of M^T M gives the number, (T^-1 M^T e_n)_n / T_nn. The determinant is taken where the number is not 1 or
    -1, or where T^-1 of a vector of random signs is large: M is singular where Q rotates a plane by 180 degrees.
    """
    size = int(rotation.shape[-1])
    exact = tf.cast(rotation, tf.float64)
    matrix = exact + tf.raw_ops.MatrixDiag(diagonal=tf.constant(np.where(_is_last(size)[:, 0], 0.0, 1.0)))
    triangle = tf.linalg.cholesky(matmul(matrix, matrix, transpose_a=True))
    signs = np.where(np.random.default_rng(0).random([size, 1]) < 0.5, -1.0, 1.0)
    probe = tf.constant(np.broadcast_to(signs, [int(rotation.shape[0]), size, 1]))
    solved = tf.linalg.triangular_solve(triangle, tf.concat([tf.expand_dims(exact[:, -1], 2), probe], 2))
    found = tf.cast(solved[:, -1, 0] / triangle[:, -1, -1], rotation.dtype)
    regular = tf.math.reduce_euclidean_norm(solved, [1, 2]) < _LARGEST_INVERSE  # not so for NaN
    return members.replace(regular & (tf.abs(tf.abs(found) - 1) < 0.1), tf.sign(found), _own_sign, rotation)


def _own_sign(members, rotation):
    return tf.linalg.slogdet(rotation)[0]


_ALGORITHMS = {name: functools.partial(_rotate, algorithm=name) for name in orthonormal.ALGORITHMS}
householder.algorithms = tuple(_ALGORITHMS)
householder.scale_free_axis = -2  # columns


def last_row_negated(weights):
    """Returns D W, D = diag(1, ..., 1, -1), of W [..., n, m]."""
    return weights * np.where(_is_last(int(weights.shape[-2])), -1, 1).astype(weights.dtype.name)


def _pad(generator, weights, added):
    """det Q is (-1)^(n-1) for every n, so where an odd number is added Q's last column has the other sign."""
    if added % 2:
        weights = last_row_negated(weights)
    return linalg.padded_by_identity(generator, weights, added)


householder.pad = _pad
