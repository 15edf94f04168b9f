"""Inverses by halves: all but the smallest blocks is products, of single matrices or of batches of them.

TensorFlow's own inverses and Cholesky factors of large matrices run on one core, and slowly where the size is a power of
two. Halving three times leaves blocks of an eighth of the size, and as many graph nodes for every size.
"""

import collections

import numpy as np

from common.compat import tf

LEVELS = 3
BLOCKS = 2**LEVELS  # every size here is a multiple of it

# The inverse of a positive definite A = [[A11, A21^T], [A21, A22]], not multiplied out: the inverse of A11, A21 times
# that, and the inverse of the Schur complement A22 - A21 A11^-1 A21^T.
Halves = collections.namedtuple("Halves", ["first", "coupling", "second"])


def padded(matrix):
    """Returns a square matrix with ones added to its diagonal until its size is a multiple of `BLOCKS`."""
    size, dtype = int(matrix.shape[0]), matrix.dtype
    more = -size % BLOCKS
    wider = tf.concat([matrix, tf.zeros([size, more], dtype)], 1)
    return tf.concat([wider, tf.constant(np.eye(size + more)[size:], dtype)], 0)


def triangular_inverse(lower):
    """Returns L^-1 [n, n] of a lower triangular L; what is above the diagonal does not count.

    [[L1, 0], [X, L2]]^-1 = [[K1, 0], [-K2 X K1, K2]]: all blocks of one level are one batch.
    """
    size, dtype = int(lower.shape[0]), lower.dtype
    block, count = size // BLOCKS, BLOCKS
    inverses = tf.linalg.triangular_solve(_blocks(lower, block, 0), tf.eye(block, batch_shape=[count], dtype=dtype))
    while count > 1:
        first, second = tf.unstack(tf.reshape(inverses, [count // 2, 2, block, block]), axis=1)
        coupling = tf.matmul(second, tf.matmul(_blocks(lower, block, 1), first))
        inverses = _join(first, tf.zeros_like(first), -coupling, second)
        block, count = 2 * block, count // 2
    return tf.reshape(inverses, [size, size])


def halve(matrix, levels=LEVELS):
    """Returns the `Halves` of positive definite matrices [..., n, n]."""
    upper, below = tf.split(matrix, 2, -2)
    coupled, corner = tf.split(below, 2, -1)
    first = _inverse(tf.split(upper, 2, -1)[0], levels - 1)
    coupling = tf.matmul(coupled, first)
    return Halves(first, coupling, _inverse(corner - tf.matmul(coupling, coupled, transpose_b=True), levels - 1))


def solve(halves, right):
    """Returns A^-1 @ right, [..., n, m]."""
    upper, below = tf.split(right, 2, -2)
    below = tf.matmul(halves.second, below - tf.matmul(halves.coupling, upper))
    upper = tf.matmul(halves.first, upper) - tf.matmul(halves.coupling, below, transpose_a=True)
    return tf.concat([upper, below], -2)


def _inverse(matrix, levels):
    """The inverse of positive definite matrices, [..., n, n]."""
    if not levels:
        identity = tf.eye(int(matrix.shape[-1]), batch_shape=matrix.shape.as_list()[:-2], dtype=matrix.dtype)
        root = tf.linalg.triangular_solve(tf.linalg.cholesky(matrix), identity)
        return tf.matmul(root, root, transpose_a=True)
    first, coupling, second = halve(matrix, levels)
    below = tf.matmul(second, -coupling)
    return _join(first - tf.matmul(coupling, below, transpose_a=True), tf.linalg.matrix_transpose(below), below, second)


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
