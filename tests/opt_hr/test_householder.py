"""Householder reflections against NumPy float64, and their determinant."""

import functools

import numpy as np
import pytest

from common.compat import tf
from opt_hr.householder import householder
from tests.oracles import every_map, generators, maps
from tests.oracles import orthonormal as oracle


def _plain(generator, weights):
    """TensorFlow's QR with R's diagonal positive and the sign of the last column set by the determinant."""
    rotation, triangle = tf.linalg.qr(generator)
    rotation *= tf.sign(tf.linalg.diag_part(triangle))
    last = tf.stop_gradient(tf.linalg.slogdet(rotation)[0]) * (-1.0) ** (int(generator.shape[0]) - 1)
    return tf.matmul(tf.concat([rotation[:, :-1], rotation[:, -1:] * last], 1), weights)


class TestHouseholder(every_map.TriangularMapTests):
    map, name = staticmethod(householder), "householder"
    rotation, gradient = staticmethod(oracle.householder), staticmethod(oracle.householder_gradient)
    plain, across = staticmethod(_plain), staticmethod(np.transpose)
    vector = "column"

    @pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
    @pytest.mark.parametrize("last", oracle.LAST_ROWS.values(), ids=oracle.LAST_ROWS)
    def test_the_last_column_does_not_count(self, algorithm, dtype, tolerance, last):
        """Reflections are made of the columns before it: it may depend on them."""
        generator = generators.with_condition(100, 30)
        singular, weights, upstream = maps.case(last(generator, dtype.as_numpy_dtype).T, 3)
        ((output, of_generator, of_weights),) = maps.run(self.by(algorithm), [(singular, weights, upstream)], dtype)
        expected = oracle.householder_gradient(generator.T, weights, upstream)
        assert maps.relative(output, oracle.householder(generator.T) @ weights) < tolerance
        assert maps.relative(of_generator, expected[0]) < 10 * tolerance
        assert maps.relative(of_weights, expected[1]) < tolerance
        assert not of_generator[:, -1].any()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 145, every_map.LARGEST])
def test_triangle_and_determinant_are_those_of_the_reflections(size):
    for generator in (generators.normal(size), generators.normal(size)[::-1]):
        (rotation,) = maps.rotations(householder, [generator], tf.float64)
        triangle = rotation.T @ generator
        assert np.abs(np.tril(triangle, -1)).max() < 1e-12
        assert (np.diag(triangle)[:-1] > 0).all()
        assert np.linalg.slogdet(rotation)[0] == (-1) ** (size - 1)


@pytest.mark.parametrize("algorithm", ["block", "cholesky"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("size", [2, 3, 9, 64, 145])
def test_determinant_where_the_blocks_are_singular(dtype, size, algorithm):
    """Permutations have blocks of determinant 0, and eigenvalues -1, exactly or, with noise, nearly."""
    random = np.random.default_rng(size)
    values = [np.eye(size)[random.permutation(size)] for _ in range(2)] + [np.eye(size)[::-1]]
    values += [value + 1e-6 * random.normal(size=(size, size)) for value in values]
    for rotation in maps.rotations(functools.partial(householder, algorithm=algorithm), values, dtype):
        assert np.linalg.slogdet(rotation.astype(np.float64))[0] == (-1) ** (size - 1)
