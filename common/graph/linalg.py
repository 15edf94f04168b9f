"""Diagonals by TensorFlow's plain operations.

Those behind tf.eye and tf.linalg.diag_part take a number to pad with, which on a GPU is fetched by the host each time.
"""

from common.compat import tf


def identity(size, dtype, count=None):
    """Returns I [size, size], or [count, size, size], made when it is run, of two nodes where tf.eye has seven."""
    return tf.raw_ops.MatrixDiag(diagonal=tf.constant(1, dtype, [size] if count is None else [count, size]))


def diagonal(matrix):
    """Returns the diagonal [n] of a matrix [n, n]."""
    return tf.raw_ops.MatrixDiagPart(input=matrix)
