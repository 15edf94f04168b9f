"""Inverses by halves: all but the smallest blocks is products, of single matrices or of batches of them.

TensorFlow's own inverses and Cholesky factors of large matrices run on one core, slowly where the size is a power of
two. Halving twice leaves blocks of a quarter of the size, and as many graph nodes for every size. Identities are made
when they are needed: as constants of the graph they would be copied whenever TensorFlow looks at it.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph.linalg import identity

LEVELS = 2
BLOCKS = 2**LEVELS  # every size here is a multiple of it

# The inverse of a positive definite A = [[A11, A21^T], [A21, A22]], not multiplied out: the inverse of A11, A21 times
# that, and the inverse of the Schur complement A22 - A21 A11^-1 A21^T.
Halves = collections.namedtuple("Halves", ["first", "coupling", "second"])


def padded(matrix):
    """Returns [[I, 0], [0, A]] of a square A, its size the next multiple of `BLOCKS`. A's last row stays the last."""
    size, dtype = int(matrix.shape[0]), matrix.dtype
    more = -size % BLOCKS
    return tf.concat([tf.constant(np.eye(size + more)[:more], dtype), tf.pad(matrix, [[0, 0], [more, 0]])], 0)


def halve(rows, shifts=(0.0,)):
    """Returns the `Halves` of C C^T + c I for every c in shifts, [r] or one, as a batch; rows is C, [n, n].

    Of C C^T only what counts is computed. Shifts are added to the smallest blocks only: no copies of all of it.
    """
    shifts = tf.reshape(tf.convert_to_tensor(shifts, rows.dtype), [-1, 1, 1])
    upper, below = tf.split(rows, 2)
    coupled, other_corner = tf.split(tf.matmul(below, rows, transpose_b=True), 2, 1)
    return _halves(tf.matmul(upper, upper, transpose_b=True), coupled, other_corner, shifts, LEVELS)


def solve(halves, right):
    """Returns (A + c I)^-1 @ right for every shift, [r, n, m]; right is [n, m] or [r, n, m]."""
    upper, below = tf.split(right, 2, -2)
    below = tf.matmul(halves.second, below - tf.matmul(halves.coupling, upper))
    upper = tf.matmul(halves.first, upper) - tf.matmul(halves.coupling, below, transpose_a=True)
    return tf.concat([upper, below], -2)


def _halves(corner, coupled, other_corner, shifts, levels):
    first = _inverse(corner, shifts, levels - 1)
    coupling = tf.matmul(coupled, first)
    complement = other_corner - tf.matmul(coupling, coupled, transpose_b=True)
    return Halves(first, coupling, _inverse(complement, shifts, levels - 1))


def _inverse(matrix, shifts, levels):
    """(A + c I)^-1 multiplied out, for every shift; A is [n, n], or already one for every shift."""
    if levels:
        half = int(matrix.shape[-1]) // 2
        blocks = matrix[..., :half, :half], matrix[..., half:, :half], matrix[..., half:, half:]
        first, coupling, second = _halves(*blocks, shifts, levels)
        below = tf.matmul(second, -coupling)
        upper = first - tf.matmul(coupling, below, transpose_a=True)
        return _join(upper, tf.linalg.matrix_transpose(below), below, second)
    size, count = int(matrix.shape[-1]), int(shifts.shape[0])
    shifted = matrix + shifts * identity(size, matrix.dtype)
    root = tf.linalg.triangular_solve(tf.linalg.cholesky(shifted), identity(size, matrix.dtype, count))
    return tf.matmul(root, root, transpose_a=True)


def _join(upper_left, upper_right, lower_left, lower_right):
    upper = tf.concat([upper_left, upper_right], -1)
    return tf.concat([upper, tf.concat([lower_left, lower_right], -1)], -2)
