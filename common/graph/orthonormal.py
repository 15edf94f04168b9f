"""Gram-Schmidt on the rows of a matrix, or on its columns: A = L S, L lower triangular, its diagonal positive, S
orthogonal, and the way back. With the columns as vectors the matrix is A^T: that is Householder's QR up to a sign.

Forward: block Gram-Schmidt in a fixed number of panels. A panel of unit vectors is projected against the finished rows
of S by products and orthonormalised by Cholesky's factor of its Gram matrix (Cholesky-QR; Stathopoulos and Wu, SIAM J.
Sci. Comput. 23, 2002). It is projected against all rows but those of the panel before it while that one is still being
orthonormalised, so that the cores have work while one of them does the small factorisation. Of a generator with normal
entries only the last vectors are nearly dependent on the others, so only the last and smallest panel is projected
twice ("twice is enough": Giraud, Langou and Rozloznik, Comput. Math. Appl. 50, 2005). Where that was not enough, which
the factors of Cholesky show, TensorFlow's QR does everything again: slower, and right for any condition number.

Backward: dA = dL S + L dS with dL lower triangular and dS S^T skew gives A' = L^-T U S, U the strict upper triangle of
B - B^T, B the gradient of S times S^T.

The last vector may depend on the others: S owes it no more than the side of their hyperplane that it is on, and as the
last row of U is zero, its own gradient is zero and L_nn is in none. Training does get there: det A = 0 is a surface,
and a path that goes through it may have a point right next to it. For an earlier vector to depend on those before it
two conditions or more must hold at once, and there gradients grow without bound.
"""

import collections

import numpy as np

from common.compat import tf
from common.graph import gpus
from common.graph.cholesky_qr import cholesky_qr
from common.graph.linalg import diagonal, identity

Factors = collections.namedtuple("Factors", ["rows", "coefficients", "inverses", "inverse_norms", "by_rows"])

# Sizes of the panels relative to each other. Few wide ones keep products fast; the last is projected twice.
_SHARES = (4, 4, 4, 4, 4, 3, 1.5)
_MULTIPLE = 16  # of the panels' widths where there is room for it: floats in a cache line
# The mean square of a row of the inverse of Cholesky's factor: what rounding errors are multiplied by, squared.
# Vectors that have been through a pass are nearly orthonormal; if not, that pass found no more than rounding.
_GROWTH, _LATER_GROWTH = 64.0, 1.5
_DEPENDENT = {"float32": 9e-7, "float64": 1e-13}  # a unit vector of which no more is left depends on those before it


def factor(name, matrix, by_rows, method="auto"):
    """Returns the `Factors` of a matrix.

    Args:
      name: the map's, for messages.
      matrix: [n, n], float32 or float64; the squares of its vectors' norms must be within the type's range.
      by_rows: whether its vectors are its rows, or its columns.
      method: "block" is block Gram-Schmidt, "cholesky" one panel in float64 (see `cholesky_qr`), "qr" TensorFlow's QR;
        "auto" is "cholesky" on GPUs that are fast in float64 and "block" everywhere else.

    Returns `Factors`: `rows` is S, [n, n]; the unit vectors a_k [n, b] of panel k, at rows start_k, are
    S[:start_k]^T coefficients_k + S_k^T inverses_k^-T; `inverse_norms` [n] made them unit vectors. Where QR was
    needed and L_nn is as good as zero the last of `inverses` is one as if it were 1: no gradient needs it.

    Raises ValueError for an unknown method; at run time, tf.errors.InvalidArgumentError if the matrix is not finite, or
    one of its vectors is zero, or its square is, or no more than rounding is left of a vector before the last.
    """
    if method not in METHODS:
        raise ValueError(f"{name}: the method is {method!r}, expected one of {', '.join(METHODS)}")
    norms = tf.math.reduce_euclidean_norm(matrix, axis=1 if by_rows else 0)
    norms = tf.debugging.check_numerics(norms, f"{name}: the generator is not finite")
    vector, singular = "row" if by_rows else "column", f"{name}: the generator is singular"
    inverse_norms = tf.debugging.check_numerics(1.0 / norms, f"{singular}: a {vector} is zero, or its square is")
    factors, (others, _) = _factored(matrix, by_rows, inverse_norms, method)
    verdict = tf.where(others, 1.0, np.nan)
    verdict = tf.debugging.check_numerics(verdict, f"{singular}: a {vector} depends on those before it")
    with tf.control_dependencies([verdict]):
        return factors._replace(rows=tf.identity(factors.rows))


def attempt(matrix, by_rows):
    """Returns the `Factors` of any matrix, and whether its vectors are independent, a bool scalar.

    Where they are not, the last one included, the factors are of no use, but there is no error.
    """
    norms = tf.math.reduce_euclidean_norm(matrix, axis=1 if by_rows else 0)
    inverse_norms = tf.math.divide_no_nan(tf.ones_like(norms), norms)
    factors, independent = _factored(matrix, by_rows, inverse_norms, "block")
    return factors, tf.reduce_all(independent)


def _factored(matrix, by_rows, inverse_norms, method):
    """Returns the `Factors`, and whether each vector but the last, and the last, is independent of those before it."""
    rows, coefficients, inverses, left = METHODS[method](matrix, by_rows, inverse_norms)
    independent = tf.unstack(left > _DEPENDENT[matrix.dtype.name])
    return Factors(rows, coefficients, inverses, inverse_norms, by_rows), independent


def pull_back(factors, left, right):
    """Returns the gradient [n, n] of the matrix, from B = left @ right^T, the gradient of S times S^T; both [n, m].

    X = L^-T U is upper triangular and comes by panels, the last first; U is formed in that triangle only, from
    B - B^T = [left, -right] @ [right, left]^T. Then X S is the gradient of the rows.
    """
    left, right = tf.concat([left, -right], 1), tf.concat([right, left], 1)
    panels = _panels_of(factors)
    lefts, scales = _cut(left, panels), _cut(factors.inverse_norms[:, tf.newaxis], panels)
    below = _below(factors, panels)
    solved, gradients = None, []
    for index, (start, end) in reversed(list(enumerate(panels))):
        upper = tf.linalg.band_part(tf.matmul(lefts[index], right[start:], transpose_b=True), 0, -1)
        if solved is None:
            # U's diagonal is zero but for rounding, which in its last row would meet 1 / L_nn.
            upper = tf.pad(upper[:-1], [[0, 1], [0, 0]])
        else:
            upper -= tf.pad(tf.matmul(below[index], solved), [[0, 0], [end - start, 0]])
        panel = tf.matmul(factors.inverses[index], upper, transpose_a=True)
        scaled = panel * scales[index]
        if factors.by_rows:
            gradients.insert(0, tf.matmul(scaled, factors.rows[start:]))
        else:
            gradients.insert(0, tf.matmul(factors.rows[start:], scaled, transpose_a=True, transpose_b=True))
        solved = panel if solved is None else tf.concat([panel, tf.pad(solved, [[0, 0], [end - start, 0]])], 0)
    return tf.concat(gradients, 0 if factors.by_rows else 1)


def inverse_transpose(factors):
    """Returns P^-T [n, n] of the matrix whose rows were factored: P = L S, so L^T P^-T = S, by panels, the last first."""
    panels = _panels_of(factors)
    inverse = tf.raw_ops.Empty(shape=factors.rows.shape.as_list(), dtype=factors.rows.dtype)
    for (start, end), triangle, below in reversed(list(zip(panels, factors.inverses, _below(factors, panels)))):
        panel = factors.rows[start:end]
        if below is not None:
            panel -= tf.matmul(below, inverse[end:])
        panel = tf.matmul(triangle, panel, transpose_a=True)
        inverse = tf.raw_ops.InplaceUpdate(x=inverse, i=np.arange(start, end, dtype=np.int32), v=panel)  # as in `_block`
    return inverse * factors.inverse_norms[:, tf.newaxis]


def determinant_sign(rotation):
    """Returns the sign of the determinant of an orthogonal matrix, a scalar.

    The complementary blocks of Q = [[A, B], [C, D]] have det A = det Q det D (Jacobi), so two small determinants do,
    side by side. Where they are too small to be trusted, which shows in their difference, Q's own is taken.
    """
    size = int(rotation.shape[0])
    # Not simply half: LU decompositions are slow where a row's length is a power of two.
    half = min((end for _, end in _panels(size)), key=lambda end: abs(2 * end - size))
    sign, magnitude = tf.linalg.slogdet(rotation[:half, :half])
    other_sign, other_magnitude = tf.linalg.slogdet(rotation[half:, half:])
    agree = tf.abs(magnitude - other_magnitude) < 0.1
    return tf.cond(agree, lambda: sign * other_sign, lambda: tf.linalg.slogdet(rotation)[0])


def _panels(size):
    """Returns the (start, end) of all panels; the same number for every size that has room for them."""
    edges = size * np.cumsum([0, *_SHARES]) / sum(_SHARES)
    multiple = _MULTIPLE if size >= 2 * _MULTIPLE * len(_SHARES) else 1
    edges = [int(round(edge / multiple)) * multiple for edge in edges[:-1]] + [size]
    return [(start, end) for start, end in zip(edges, edges[1:]) if start < end]


def _panels_of(factors):
    """Returns the (start, end) of the panels that a matrix was factored in."""
    edges = np.cumsum([0, *(int(inverse.shape[0]) for inverse in factors.inverses)])
    return [(int(start), int(end)) for start, end in zip(edges, edges[1:])]


def _block(matrix, by_rows, inverse_norms):
    """Returns S, coefficients, inverses, and what `_least` says of L's last panel."""
    size, panels = int(matrix.shape[0]), _panels(int(matrix.shape[0]))
    rows = tf.raw_ops.Empty(shape=[size, size], dtype=matrix.dtype)
    all_coefficients, inverses, growths = [], [], []
    finished, newest = None, None  # S above the panel before this one, and that panel's rows
    for (start, end), rest in zip(panels, _unit_vectors(matrix, by_rows, inverse_norms, panels)):
        coefficients = []
        for basis in (finished, newest):
            if basis is not None:
                rest, components = _project(basis, rest)
                coefficients.append(components)
        triangle, inverse, growth = _orthonormalise(rest)
        if end == size:
            first, first_triangle, first_inverse = coefficients, triangle, inverse
            rest = tf.matmul(rest, inverse, transpose_b=True)
            if start:
                rest, components = _project(rows[:start], rest)
                first = [tf.concat(first, 0) + tf.matmul(components, first_triangle, transpose_b=True)]
            triangle, inverse, growth = _orthonormalise(rest)
            coefficients, triangle = first, tf.matmul(first_triangle, triangle)
            inverses.append(tf.matmul(inverse, first_inverse))
        else:
            inverses.append(inverse)
        growths.append(growth / (_LATER_GROWTH if end == size else _GROWTH))
        all_coefficients.append(tf.concat(coefficients, 0) if coefficients else None)
        newest, finished = tf.matmul(inverse, rest, transpose_b=True), rows[:start] if start else None
        # In place: any other way to fill a matrix bit by bit copies it each time. Who read it before read other rows.
        rows = tf.raw_ops.InplaceUpdate(x=rows, i=np.arange(start, end, dtype=np.int32), v=newest)
    left = _least(diagonal(triangle))
    enough = tf.reduce_max(tf.stack(growths)) <= 1  # not so for NaN, which a matrix without Cholesky's factor gives
    result = (rows, all_coefficients, inverses, left)
    return _or(enough, result, lambda: _qr(matrix, by_rows, inverse_norms, panels))


def _cholesky(matrix, by_rows, inverse_norms):
    """Everything in one panel. Returns what `_block` returns."""
    panels = [(0, int(matrix.shape[0]))]
    vectors = matrix * inverse_norms[:, tf.newaxis] if by_rows else tf.transpose(matrix * inverse_norms)

    def by(passes):
        rows, inverse, scales, trusted = cholesky_qr(vectors, passes)
        return trusted, (rows, [None], [inverse], _least(scales))

    def again():
        trusted, result = by(2)
        return _or(trusted, result, lambda: _qr(matrix, by_rows, inverse_norms, panels))

    return _or(*by(1), again)


def _qr(matrix, by_rows, inverse_norms, panels=None):
    """TensorFlow's QR, its signs made positive. Returns what `_block` returns."""
    columns = tf.transpose(matrix) if by_rows else matrix
    rotation, triangle = tf.linalg.qr(columns * inverse_norms)
    scales = diagonal(triangle)
    signs = tf.where(scales < 0, -tf.ones_like(scales), tf.ones_like(scales))
    lower, rows = tf.transpose(triangle) * signs, tf.transpose(rotation) * signs[:, tf.newaxis]
    return _split(lower, rows, _least(tf.abs(scales)), panels or _panels(int(rows.shape[0])))


def _auto(matrix, by_rows, inverse_norms):
    """The one place that chooses."""
    return (_cholesky if gpus.fast_in_float64() else _block)(matrix, by_rows, inverse_norms)


METHODS = {"auto": _auto, "block": _block, "cholesky": _cholesky, "qr": _qr}


def _or(enough, result, again):
    """Returns `result`, what `_block` returns, or where it is not good enough that of `again`, in the same panels."""
    count = len(result[1]) - 1

    def flat(rows, coefficients, inverses, left):  # the first panel has no coefficients
        return [rows, *coefficients[1:], *inverses, left]

    known = flat(*result)
    rows, *parts, left = tf.cond(enough, lambda: [tf.identity(tensor) for tensor in known], lambda: flat(*again()))
    return rows, [None, *parts[:count]], parts[count:], left


def _least(scales):
    """[2]: the least that is left of any unit vector but the last, infinity where there is no other; of the last."""
    return tf.stack([tf.reduce_min(scales[:-1]), scales[-1]])


def _split(lower, rows, left, panels):
    """Cuts L and S into the panels of `Factors`."""
    size, coefficients, inverses = int(rows.shape[0]), [], []
    for (start, end), of_panel in zip(panels, _cut(lower, panels)):
        earlier, triangle, _ = tf.split(of_panel, [start, end - start, size - end], 1)
        coefficients.append(tf.transpose(earlier) if start else None)
        if end == size:  # L_nn may be as good as zero; only the last row of the inverse depends on it
            unit = np.eye(1, end - start, end - start - 1, dtype=rows.dtype.as_numpy_dtype)
            last = tf.where_v2(triangle[-1:, -1:] > _DEPENDENT[rows.dtype.name], triangle[-1:], unit)
            triangle = tf.concat([triangle[:-1], last], 0)
        inverses.append(tf.linalg.triangular_solve(triangle, identity(end - start, rows.dtype)))
    return rows, coefficients, inverses, left


def _unit_vectors(matrix, by_rows, inverse_norms, panels):
    """Returns the unit vectors of each panel as columns [n, b]: against rows of S that makes the fastest products."""
    pieces = _cut(matrix, panels, 0 if by_rows else 1)
    scales = _cut(inverse_norms, panels)
    return [(tf.transpose(piece) if by_rows else piece) * scale for piece, scale in zip(pieces, scales)]


def _cut(tensor, panels, axis=0):
    """Returns the parts of a tensor at the indices of panels, which follow each other and begin at 0."""
    return tf.split(tensor, [end - start for start, end in panels], axis) if tensor is not None else None


def _below(factors, panels):
    """Returns for each panel k what L has below it, transposed, for unit vectors: [b_k, n - end_k]; None for the last."""
    parts = [_cut(later, panels[:index]) for index, later in enumerate(factors.coefficients)]
    columns = [[later[index] for later in parts[index + 1 :]] for index in range(len(panels))]
    return [tf.concat(column, 1) if column else None for column in columns]


def _project(basis, vectors):
    """Takes from vectors [n, b] what lies in orthonormal rows [s, n]; returns the rest and the components [s, b]."""
    components = tf.matmul(basis, vectors)
    return vectors - tf.matmul(basis, components, transpose_a=True), components


def _orthonormalise(vectors):
    """Returns T [b, b] lower triangular and T^-1 with T^-1 vectors^T orthonormal, and the growth of rounding errors."""
    triangle = tf.linalg.cholesky(tf.matmul(vectors, vectors, transpose_a=True))
    size = int(vectors.shape[1])
    inverse = tf.linalg.triangular_solve(triangle, identity(size, vectors.dtype))
    return triangle, inverse, 2 / size * tf.nn.l2_loss(inverse)  # that is half the sum of squares
