"""Inverses by halves: all but the smallest blocks is products, of single matrices or of batches of them.

TensorFlow's own inverses and Cholesky factors of large matrices run on one core, slowly where the size is a power of
two. Halving twice leaves blocks of a quarter of the size, and as many graph nodes for every size. Identities are made
when they are needed: as constants of the graph they would be copied whenever TensorFlow looks at it.
"""

import collections

import numpy as np

from common.compat import tf
from common.orthonormal import identity

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


def triangular_inverse(lower):
    """Returns L^-1 [n, n] of a lower triangular L; what is above the diagonal does not count.

    [[L1, 0], [X, L2]]^-1 = [[K1, 0], [-K2 X K1, K2]]: all blocks of one level are one batch.
    """
    size = int(lower.shape[0])
    block, count = size // BLOCKS, BLOCKS
    inverses = _triangular_inverses(_blocks(lower, block, 0), count)
    while count > 1:
        first, second = tf.unstack(tf.reshape(inverses, [count // 2, 2, block, block]), axis=1)
        coupling = tf.matmul(second, tf.matmul(_blocks(lower, block, 1), first))
        nothing = tf.constant(0, lower.dtype, [count // 2, block, block])
        inverses = _join(first, nothing, -coupling, second)
        block, count = 2 * block, count // 2
    return tf.reshape(inverses, [size, size])


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
    shifted = matrix + shifts * identity(int(matrix.shape[-1]), matrix.dtype)
    root = _triangular_inverses(tf.linalg.cholesky(shifted), int(shifts.shape[0]))
    return tf.matmul(root, root, transpose_a=True)


def _triangular_inverses(lower, count):
    return tf.linalg.triangular_solve(lower, identity(int(lower.shape[-1]), lower.dtype, count))


def _blocks(lower, block, below):
    """The blocks on the diagonal (below = 0), or those under every second of them (below = 1), as a batch."""
    count = int(lower.shape[0]) // block
    row_blocks = np.arange(below, count, 1 + below)[:, np.newaxis]
    rows = row_blocks * block + np.arange(block)
    indices = np.stack([rows, np.broadcast_to(row_blocks - below, rows.shape)], -1)
    return tf.gather_nd(tf.reshape(lower, [count * block, count, block]), tf.constant(indices))


def _join(upper_left, upper_right, lower_left, lower_right):
    upper = tf.concat([upper_left, upper_right], -1)
    return tf.concat([upper, tf.concat([lower_left, lower_right], -1)], -2)
