"""Linear algebra that the maps share: diagonals, checks of arguments, and what a GPU is good at."""

import contextlib
import contextvars

import numpy as np

from common.compat import tf

# Compute capabilities of GPUs that do a third or half as many operations a second in float64 as in float32: P100, V100,
# A100, H100 and H200, B200. Others do a 32nd or 64th.
_FAST_IN_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}

_for_xla = contextvars.ContextVar("for_xla", default=False)


def identity(size, dtype):
    """Returns I [size, size], computed when the graph runs.

    tf.eye and tf.linalg.diag_part take a number to pad with, which on a GPU the host fetches each time.
    """
    return tf.raw_ops.MatrixDiag(diagonal=tf.constant(1, dtype, [size]))


def diagonal(matrix):
    """Returns the diagonals [..., n] of matrices [..., n, n]."""
    return tf.raw_ops.MatrixDiagPart(input=matrix)


def transposed(matrix):
    """Returns the transposes [..., m, n] of matrices [..., n, m]."""
    return tf.linalg.matrix_transpose(matrix)


def matmul(first, second, transpose_a=False, transpose_b=False):
    """Returns tf.matmul(...) to the precision of its type, even where the network has TensorFloat-32.

    TensorFlow's switch is for the whole process, and with it a map's result would be good to 1e-3. Where it is on,
    float32 matrices are multiplied in float64, or on GPUs that are slow in float64 by three products of 11-bit halves.
    """
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    is_on = tf.compat.v2.config.experimental.tensor_float_32_execution_enabled
    if first.dtype != tf.float32 or not (on_gpu() and is_on()):
        return tf.matmul(first, second, **options)
    if fast_in_float64():
        exact = tf.matmul(tf.cast(first, tf.float64), tf.cast(second, tf.float64), **options)
        return tf.cast(exact, tf.float32)
    (high_a, low_a), (high_b, low_b) = _halves(first), _halves(second)
    small = tf.matmul(high_a, low_b, **options) + tf.matmul(low_a, high_b, **options)
    return tf.matmul(high_a, high_b, **options) + small


def _halves(matrix):
    """Returns the leading 11 bits of each float32 number, and the remaining 13."""
    whole = tf.bitcast(tf.convert_to_tensor(matrix), tf.int32)
    high = tf.bitcast(tf.bitwise.bitwise_and(whole, tf.constant(-(1 << 13), tf.int32)), tf.float32)
    return high, matrix - high


def triangle_inverse(lower):
    """Returns the inverses of lower triangular matrices [..., n, n]."""
    return tf.linalg.triangular_solve(lower, identity(int(lower.shape[-1]), lower.dtype))


def squared_norm(matrix):
    """Returns the sum of the squares of each matrix [..., n, m]: [...]."""
    return tf.reduce_sum(tf.square(matrix), [-2, -1])


def euclidean_norm(tensor, axis, keepdims=False):
    """Returns the roots of sums of squares over axes: one operation, or within `for_xla`, where XLA has none, three."""
    if _for_xla.get():
        return tf.sqrt(tf.reduce_sum(tf.square(tensor), axis, keepdims=keepdims))
    return tf.math.reduce_euclidean_norm(tensor, axis, keepdims=keepdims)


@contextlib.contextmanager
def for_xla():
    """Within it, functions here use operations that XLA can compile."""
    token = _for_xla.set(True)
    try:
        yield
    finally:
        _for_xla.reset(token)


def norm(matrix):
    """Returns the Frobenius norm of each matrix [..., n, m]: [..., 1, 1]."""
    return tf.sqrt(tf.reduce_sum(tf.square(matrix), [-2, -1], keepdims=True))


def padded_by_zeros(generator, weights, added):
    """Returns P [b, n, n] and W [b, n, m] with `added` rows of zeros before the first, and P with such columns too."""

    @tf.custom_gradient
    def pad(matrix):  # TensorFlow's gradient takes six operations to find out where to cut
        return tf.pad(matrix, [[0, 0], [added, 0], [added, 0]]), lambda upstream: upstream[:, added:, added:]

    return pad(generator), tf.pad(weights, [[0, 0], [added, 0], [0, 0]])


def padded_by_identity(generator, weights, added, scale=1.0):
    """Returns the same with `scale` on the new part of P's diagonal: for most maps Q becomes [[I, 0], [0, Q(P)]]."""
    diagonal_part = np.where(np.arange(added + int(generator.shape[-1])) < added, 1, 0)
    unit = tf.raw_ops.MatrixDiag(diagonal=tf.constant(diagonal_part, generator.dtype))
    generator, weights = padded_by_zeros(generator, weights, added)
    return generator + scale * unit, weights


def checked(name, generator, weights):
    """Returns generator [..., n, n] and weights [..., n, m] as tensors of one floating type.

    Raises ValueError, in one line that names the map, if shapes or types do not fit.
    """
    generator, weights = tf.convert_to_tensor(generator), tf.convert_to_tensor(weights)
    types = [generator.dtype.name, weights.dtype.name]
    if types not in (["float32"] * 2, ["float64"] * 2):
        raise ValueError(f"{name}: generator and weights are {' and '.join(types)}, expected both float32 or float64")
    *batch, rows, columns = generator.shape.as_list() if (generator.shape.rank or 0) >= 2 else [None, None]
    if rows is None or rows < 1 or rows != columns or None in batch:
        raise ValueError(f"{name}: the generator has shape {generator.shape}, expected [..., n, n] with n >= 1")
    if weights.shape.rank != len(batch) + 2 or weights.shape.as_list()[:-1] != [*batch, rows]:
        like = ", ".join(str(size) for size in [*batch, rows, "m"])
        raise ValueError(f"{name}: the weights have shape {weights.shape}, expected [{like}] like the generator")
    return generator, weights


def all_finite(matrix):
    """Whether all entries of each matrix [b, n, m] are finite, bool [b]: by their sum, in a tenth of the time."""
    return tf.math.is_finite(tf.reduce_sum(matrix, [1, 2]))


def on_gpu():
    """Whether this process runs on a GPU. Ask when a graph is built, not before: it starts the GPU's driver."""
    return bool(tf.config.list_physical_devices("GPU"))


def fast_in_float64():
    """Whether this process runs on GPUs that are all fast in float64."""
    capabilities = compute_capabilities()
    return bool(capabilities) and capabilities <= _FAST_IN_FLOAT64


def compute_capabilities():
    """Returns the set of the compute capabilities of all GPUs, pairs of numbers; () for one that does not say."""
    gpus = tf.config.list_physical_devices("GPU")
    return {tuple(tf.config.experimental.get_device_details(gpu).get("compute_capability", ())) for gpu in gpus}
