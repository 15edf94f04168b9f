"""What the factors of block Gram-Schmidt are good for beyond the maps, against NumPy; the maps have their own tests."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import orthonormal
from common.graph.members import Members
from tests.oracles import generators

MEMBERS = Members("map", ["the generator"])


def _inverse_transpose(matrix, dtype):
    """Returns P^-T, the inverse's transpose, and whether P's rows are independent."""
    factors, independent = orthonormal.attempt(tf.constant(matrix[np.newaxis], dtype), MEMBERS)
    with tf.Session() as session:
        return [value[0] for value in session.run([orthonormal.inverse_transpose(factors), independent])]


@pytest.mark.parametrize("dtype, precision", [(tf.float32, 6e-8), (tf.float64, 1.1e-16)])
@pytest.mark.parametrize("size", [1, 2, 5, 27, 64, 225])
def test_the_inverse_of_normal_and_of_ill_conditioned_matrices(size, dtype, precision):
    conditions = (1.0, 1e3, 1e5) if size > 1 else ()
    scales = np.geomspace(0.01, 100, size)[:, np.newaxis]  # of the rows, which the factors' unit vectors are not of
    matrices = [generators.normal(size), scales * generators.normal(size)]
    matrices += [generators.with_condition(size, condition) for condition in conditions]
    for matrix in matrices:
        matrix = matrix.astype(dtype.as_numpy_dtype).astype(np.float64)
        inverse, independent = _inverse_transpose(matrix, dtype)
        assert independent and inverse.dtype == dtype.as_numpy_dtype
        expected = np.linalg.inv(matrix).T
        unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        error = np.linalg.norm(inverse - expected) / np.linalg.norm(expected)
        assert error < 20 * size**0.5 * precision * np.linalg.cond(unit), np.linalg.cond(unit)


@pytest.mark.parametrize("row", [0, 3, 6])
@pytest.mark.parametrize("vector", ["of zeros", "of another's", "of NaN"])
def test_vectors_that_depend_on_others_are_told_without_an_error(vector, row):
    """The last one too, which `factor` accepts: there is no inverse."""
    matrix = generators.normal(7)
    matrix[row] = {"of zeros": 0.0, "of another's": 3 * matrix[row - 1], "of NaN": np.nan}[vector]
    _, independent = orthonormal.attempt(tf.constant(matrix[np.newaxis], tf.float32), MEMBERS)
    with tf.Session() as session:
        assert not session.run(independent)
