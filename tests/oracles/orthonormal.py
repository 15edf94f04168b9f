"""Gram-Schmidt, Householder reflections and their gradients in NumPy float64, one row or one reflection at a time."""

import functools

import numpy as np

from tests.oracles import generators


@functools.cache
def hard_generators(size):
    """N(0, 1), condition numbers 1e3 to 1e6, half of the singular values 1e-6, rows that are nearly the same."""
    left, right = generators.orthogonal(size, 0), generators.orthogonal(size, 1).T
    spectra = [np.geomspace(1, 1e-3, size), np.geomspace(1, 1e-6, size), np.where(np.arange(size) < size // 2, 1, 1e-6)]
    return [
        generators.normal(size, 0),
        generators.normal(size, 1),
        *(left * values @ right for values in spectra),
        1 + 1e-3 * generators.normal(size),
    ]


def _last(of_others):
    def replaced(generator, dtype):
        return np.concatenate([generator[:-1], of_others(generator[:-1], dtype)[np.newaxis]]).astype(dtype)

    return replaced


# (generator, dtype) to the same with a last row that depends on the others, exactly or but for the last digits.
LAST_ROWS = {
    "sum of rows": _last(lambda rows, dtype: rows.astype(dtype).sum(0)),
    "parallel rows": _last(lambda rows, dtype: -2 * rows[3]),
    "difference of rows": _last(lambda rows, dtype: (rows[0] - rows[1]) * (1 + 4 * np.finfo(dtype).eps)),
}


def gram_schmidt(generator):
    """Q, whose rows are those of P orthonormalised in order, each projected twice."""
    generator = np.asarray(generator, np.float64)
    rows = np.zeros_like(generator)
    for index, row in enumerate(generator):
        for _ in range(2):
            row = row - rows[:index].T @ (rows[:index] @ row)
        rows[index] = row / np.linalg.norm(row)
    return rows


def householder(generator):
    """Q = H_1 ... H_{n-1}, each reflection sending its column to +norm * e_1.

    A column that is there already leaves the textbook's reflection undefined. Any that keeps it will do for the count
    of n - 1; the one taken reverses the last coordinate, so that Q differs from others at most in its last column.
    """
    left = np.array(generator, np.float64)
    size = len(left)
    rotation = np.eye(size)
    for index in range(size - 1):
        vector = left[index:, index].copy()
        vector[0] -= np.linalg.norm(vector)
        if np.linalg.norm(vector) > 1e-14 * np.linalg.norm(left[index:, index]):
            vector /= np.linalg.norm(vector)
            left[index:] -= 2 * np.outer(vector, vector @ left[index:])
            rotation[:, index:] -= 2 * np.outer(rotation[:, index:] @ vector, vector)
        else:
            left[-1] *= -1
            rotation[:, -1] *= -1
    return rotation


def gram_schmidt_gradient(generator, weights, upstream):
    """Gradients of sum(upstream * (Q @ weights)), by going back through the rows of `gram_schmidt`, the last first."""
    generator, weights, upstream = (np.asarray(value, np.float64) for value in (generator, weights, upstream))
    rotation = gram_schmidt(generator)
    of_rotation = upstream @ weights.T
    of_generator = np.zeros_like(generator)
    for index in reversed(range(len(generator))):
        # q = r / |r| with r = p - F^T F p, F the rows before: its gradient reaches p, and F through both factors.
        before, row = rotation[:index], generator[index]
        rest = row - before.T @ (before @ row)
        along = of_rotation[index] - rotation[index] * (rotation[index] @ of_rotation[index])
        of_rest = along / np.linalg.norm(rest)
        of_generator[index] = of_rest - before.T @ (before @ of_rest)
        of_rotation[:index] -= np.outer(before @ row, of_rest) + np.outer(before @ of_rest, row)
    return of_generator, rotation.T @ upstream


def householder_gradient(generator, weights, upstream):
    """The same for reflections: Q^T is Gram-Schmidt of P^T but for the sign of its last row."""
    generator, weights, upstream = (np.asarray(value, np.float64) for value in (generator, weights, upstream))
    rotation = householder(generator)
    sign = np.ones(len(generator))
    sign[-1] = np.sign(rotation[:, -1] @ gram_schmidt(generator.T)[-1])
    # Y = S^T D W for S = gram_schmidt(P^T): sum(G * Y) = sum((D W) * (S G))
    of_transpose, _ = gram_schmidt_gradient(generator.T, upstream, sign[:, np.newaxis] * weights)
    return of_transpose.T, rotation.T @ upstream
