"""The Cayley map against NumPy float64, and what scales and triangles do to it."""

import numpy as np
import pytest

from common.compat import tf
from opt_cp.cayley import cayley
from tests.oracles import cayley as oracle
from tests.oracles import every_map, generators, maps


def _plain(generator, weights):
    upper = tf.linalg.band_part(generator, 0, -1)
    skew = upper - tf.transpose(upper)
    identity = tf.eye(int(generator.shape[0]), dtype=generator.dtype)
    return (identity + skew) @ tf.matrix_inverse(identity - skew) @ weights


class TestCayley(every_map.MapTests):
    map, name = staticmethod(cayley), "cayley"
    rotation, gradient = staticmethod(oracle.rotation), staticmethod(oracle.gradient)
    plain = staticmethod(_plain)
    tolerances, most_nodes = (2e-5, 3e-13), 520
    hard = 1e6 * generators.normal(20)

    @pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
    def test_every_scale_stays_orthogonal(self, algorithm, dtype, bound):
        scales = (1e-12, 1e-3, 1e1, 1e3, 1e6, 1e12)
        values = [scale * generators.normal(size) for scale in scales for size in (1, 3, 8, 145)]
        for generator, rotation in zip(values, maps.rotations(self.by(algorithm), values, dtype)):
            assert generators.orthogonality_error(rotation) < bound, (len(generator), np.abs(generator).max())

    @pytest.mark.parametrize("size", [1, 2, 3, 27, 64, 65, 145])
    def test_huge_generators_reach_their_limit(self, algorithm, size):
        """A skew matrix of odd size has a null vector, which Q keeps however large the generator is."""
        generator = generators.normal(size)
        (rotation,) = maps.rotations(self.by(algorithm), [1e12 * generator])
        np.testing.assert_allclose(rotation, oracle.rotation_of_huge(generator), atol=1e-3)

    def test_tiny_generators_rotate_by_twice_the_skew_part(self, algorithm):
        generator = generators.normal(64)
        weights = np.zeros((64, 1))
        weights[3] = 1
        ((output, of_generator, _),) = maps.run(self.by(algorithm), [(1e-12 * generator, weights, np.ones((64, 1)))])
        skew = np.triu(generator, 1) - np.triu(generator, 1).T
        rows = np.arange(64) != 3
        np.testing.assert_allclose(output[rows, 0], 2e-12 * skew[rows, 3], rtol=1e-5)
        ones = np.ones((64, 1))
        np.testing.assert_allclose(of_generator, np.triu(2 * (ones @ weights.T - weights @ ones.T), 1), atol=1e-6)

    @pytest.mark.parametrize("generator", [np.eye(8), np.zeros((8, 8)), np.ones((9, 9)), 1e12 * np.ones((8, 8))])
    def test_special_generators_are_finite_with_their_gradient(self, algorithm, generator):
        for value in maps.run(self.by(algorithm), [maps.case(generator, 3)])[0]:
            assert np.isfinite(value).all()

    def test_the_diagonal_and_the_lower_triangle_do_not_matter(self, algorithm):
        generator = generators.normal(9)
        full, upper = maps.rotations(self.by(algorithm), [generator, np.triu(generator, 1)], tf.float64)
        np.testing.assert_allclose(full, upper, atol=1e-13)
        ((_, of_generator, _),) = maps.run(self.by(algorithm), [maps.case(generator, 4)])
        assert not np.tril(of_generator).any()
        np.testing.assert_allclose(maps.rotations(self.by(algorithm), [np.diag(np.arange(5.0))])[0], np.eye(5))
