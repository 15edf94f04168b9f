"""Inverses by halves: all but the smallest blocks is products.

TensorFlow's own inverses and Cholesky factors of large matrices run on one core, slowly where the size is a power of
two. Halving twice leaves blocks of a quarter of the size, and as many graph nodes for every size. Identities are made
when they are needed: as constants of the graph they would be copied whenever TensorFlow looks at it.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph.linalg import identity, matmul, transposed, triangle_inverse

LEVELS = 2
BLOCKS = 2**LEVELS  # every size here is a multiple of it

# The inverse of a positive definite A = [[A11, A21^T], [A21, A22]], not multiplied out: the inverse of A11, A21 times
# that, and the inverse of the Schur complement A22 - A21 A11^-1 A21^T.
Halves = collections.namedtuple("Halves", ["first", "coupling", "second"])


def padded(matrix):
    """Returns [[I, 0], [0, A]] of A [b, n, n], its size the next multiple of `BLOCKS`. A's last row stays the last."""
    count, size, _ = matrix.shape.as_list()
    more = -size % BLOCKS
    above = tf.broadcast_to(tf.constant(np.eye(size + more)[:more], matrix.dtype), [count, more, size + more])
    return tf.concat([above, tf.pad(matrix, [[0, 0], [0, 0], [more, 0]])], 1)


def halve(rows, shifts):
    """Returns the `Halves` of C C^T + c I: of C [b, n, n] for r shifts c, [b, r] or [r].

    Of C C^T only the lower blocks are computed. Shifts are added to the smallest blocks only, which copies least.
    """
    shifts = tf.convert_to_tensor(shifts, rows.dtype)[..., tf.newaxis, tf.newaxis]
    upper, below = tf.split(rows[:, tf.newaxis], 2, 2)
    corner = matmul(upper, upper, transpose_b=True)
    coupled, other_corner = matmul(below, upper, transpose_b=True), matmul(below, below, transpose_b=True)
    return _halves(corner, coupled, other_corner, shifts, LEVELS)


def solve(halves, right):
    """Returns (A + c I)^-1 @ right, [b, r, n, m], for every shift; right is [b, n, m]."""
    upper, below = tf.split(right[:, tf.newaxis], 2, 2)
    below = matmul(halves.second, below - matmul(halves.coupling, upper))
    upper = matmul(halves.first, upper) - matmul(halves.coupling, below, transpose_a=True)
    return tf.concat([upper, below], 2)


def _halves(corner, coupled, other_corner, shifts, levels):
    first = _inverse(corner, shifts, levels - 1)
    coupling = matmul(coupled, first)
    complement = other_corner - matmul(coupling, coupled, transpose_b=True)
    return Halves(first, coupling, _inverse(complement, shifts, levels - 1))


def _inverse(matrix, shifts, levels):
    """(A + c I)^-1 [b, r, n, n] multiplied out, for every shift; A is [b, 1, n, n], or [b, r, n, n]."""
    if levels:
        half = int(matrix.shape[-1]) // 2
        blocks = matrix[..., :half, :half], matrix[..., half:, :half], matrix[..., half:, half:]
        first, coupling, second = _halves(*blocks, shifts, levels)
        below = matmul(second, -coupling)
        upper = first - matmul(coupling, below, transpose_a=True)
        rows = [upper, transposed(below)], [below, second]
        return tf.concat([tf.concat(row, -1) for row in rows], -2)
    unit = identity(int(matrix.shape[-1]), matrix.dtype)
    root = triangle_inverse(tf.linalg.cholesky(matrix + shifts * unit))
    return matmul(root, root, transpose_a=True)
