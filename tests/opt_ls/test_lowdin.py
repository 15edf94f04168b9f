"""Löwdin's map against NumPy float64: equal, small and zero singular values, scales, conditions."""

import functools

import numpy as np
import pytest

from common.compat import tf
from opt_ls.lowdin import lowdin
from tests.oracles import every_map, generators, maps
from tests.oracles import polar as oracle


def _rounded(generator):
    """What float32 makes of it, in float64: NumPy then decomposes the matrix that the map is given."""
    return generator.astype(np.float32).astype(np.float64)


def _plain(generator, weights):
    """Their derivative is finite here (singular values are distinct)."""
    _, left, right = tf.linalg.svd(generator)
    return left @ tf.transpose(right) @ weights


_SINGULAR = [np.zeros((4, 4)), np.diag([1.0, 0.0, 2.0, 0.0]), np.zeros((1, 1)), np.ones((7, 7))]


class TestLowdin(every_map.MapTests):
    map, name = staticmethod(lowdin), "lowdin"
    rotation, gradient = staticmethod(oracle.rotation), staticmethod(oracle.gradient)
    plain = staticmethod(_plain)
    tolerances = (1e-3, 1e-11)
    most_nodes = {"svd": 120, "newton": 420, "rational": 1400, "polynomial": 780}
    faults = (
        (np.full((20, 20), np.nan), "is not finite"),
        (np.zeros((20, 20)), "is singular"),
        (np.ones((20, 20)), "is singular"),
    )

    @pytest.mark.parametrize("dtype, bound", [(tf.float32, 1e-4), (tf.float64, 1e-11)])
    def test_the_scale_does_not_matter(self, algorithm, dtype, bound):
        scales = [*10.0 ** np.arange(-12, 13, 6), 1e37]
        values = [scale * generators.normal(size) for scale in scales for size in (1, 3, 64)]
        for generator, rotation in zip(values, maps.rotations(self.by(algorithm), values, dtype)):
            assert generators.orthogonality_error(rotation) < bound, (len(generator), np.abs(generator).max())

    @pytest.mark.parametrize("scale", [1e-12, 1e12])
    def test_the_gradient_scales_with_the_inverse(self, algorithm, scale):
        generator, weights, upstream = maps.case(generators.normal(27), 5)
        ((_, gradient, _),) = maps.run(self.by(algorithm), [(scale * generator, weights, upstream)])
        assert maps.relative(gradient * scale, oracle.gradient(generator, weights, upstream)[0]) < 1e-3

    @pytest.mark.parametrize("size", [1, 2, 7, 64])
    def test_equal_singular_values(self, algorithm, size):
        """The gradient of the decomposition is not finite here; the map's own is."""
        pairs = generators.with_values(np.ceil(np.arange(1, size + 1) / 2))
        values = [np.eye(size), 3 * generators.orthogonal(size), pairs]
        cases = [maps.case(value, 4) for value in values]
        for case, (output, of_generator, of_weights) in zip(cases, maps.run(self.by(algorithm), cases)):
            expected_generator, expected_weights = oracle.gradient(*case)
            np.testing.assert_allclose(output, oracle.rotation(case[0]) @ case[1], atol=1e-4)
            np.testing.assert_allclose(of_generator, expected_generator, atol=1e-3)
            np.testing.assert_allclose(of_weights, expected_weights, atol=1e-4)

    def test_identity_and_reflections_are_exact(self, algorithm):
        values = [np.eye(9), -np.eye(9), np.eye(9)[::-1], np.diag([1.0, -1.0, 2.0, -3.0])]
        for value, rotation in zip(values, maps.rotations(self.by(algorithm), values)):
            np.testing.assert_allclose(rotation, np.sign(value), atol=1e-6)

    @pytest.mark.parametrize("singular", _SINGULAR)
    def test_singular_generators_are_named(self, algorithm, singular):
        with pytest.raises(tf.errors.InvalidArgumentError, match="lowdin[:_].*singular"):
            maps.rotations(self.by(algorithm), [singular])

    @pytest.mark.parametrize("dtype, tolerance", [(tf.float32, 1e-4), (tf.float64, 1e-6)])
    @pytest.mark.parametrize("least", [0.0, 1e-7])
    @pytest.mark.parametrize("size", [2, 3, 65, 100])
    def test_one_singular_value_may_be_zero(self, algorithm, size, least, dtype, tolerance):
        """Q and all gradients are limits from one side of det P = 0; on the other the zero's part of Q changes sign."""
        by_newton = algorithm == "newton" or algorithm == "polynomial" and dtype == tf.float64
        if by_newton and not least and size < 65:
            pytest.skip("TensorFlow's inverse may find the last pivot of so small a matrix to be exactly zero")
        sides = (-1, 1) if not least or dtype == tf.float32 else (1,)  # in float32 rounding hides on which side 1e-7 is
        near = [generators.with_values([*np.geomspace(1, 0.1, size - 1), side * 1e-8]) for side in sides]
        singular = generators.with_values([*np.geomspace(1, 0.1, size - 1), least]).astype(dtype.as_numpy_dtype)
        (rotation,) = maps.rotations(self.by(algorithm), [singular], dtype)
        case = maps.case(singular, 3)
        ((output, of_generator, of_weights),) = maps.run(self.by(algorithm), [case], dtype)
        side = min(near, key=lambda generator: np.linalg.norm(oracle.rotation(generator) - rotation))
        expected_generator, expected_weights = oracle.gradient(side, *case[1:])
        assert maps.relative(output, oracle.rotation(side) @ case[1]) < tolerance
        assert maps.relative(of_generator, expected_generator) < 10 * tolerance
        assert maps.relative(of_weights, expected_weights) < tolerance

    @pytest.mark.parametrize(
        "graphics, size, columns, dtype, method",
        [
            ([], 3, 3, tf.float32, "svd"),
            ([], 288, 64, tf.float32, "rational"),
            ([], 288, 288, tf.float32, "svd"),
            ([], 288, 64, tf.float64, "svd"),
            ([(8, 6)], 3, 3, tf.float32, "newton"),
            ([(8, 6)], 288, 64, tf.float32, "newton"),
            ([(9, 0)], 288, 64, tf.float32, "polynomial"),
            ([(9, 0)], 288, 64, tf.float64, "newton"),
            ([(9, 0), (8, 6)], 288, 64, tf.float32, "newton"),
        ],
    )
    def test_the_device_decides_where_nobody_does(self, monkeypatch, graphics, size, columns, dtype, method):
        """`graphics` are the compute capabilities of the GPUs that there are."""
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: graphics)
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
        lowdin(tf.zeros([size, size], dtype), tf.zeros([size, columns], dtype))
        kinds = {operation.type for operation in tf.get_default_graph().get_operations()}
        text = str(tf.get_default_graph().as_graph_def())
        assert ("Svd" in kinds, "Cholesky" in text, "TensorListSetItem" in text or "While" in text) == (
            method == "svd",
            method == "rational",
            method == "newton",
        )

    @pytest.mark.parametrize("condition, bound", [(1, 1e-5), (1e3, 1e-3), (1e4, 1e-2), (1e6, 0.2)])
    def test_gradients_of_ill_conditioned_generators(self, algorithm, condition, bound):
        """The map itself passes on its argument's rounding: condition number times 6e-8 in the smallest directions."""
        generator = generators.with_condition(144, condition).astype(np.float32)
        case = maps.case(generator, 16)
        ((output, of_generator, of_weights),) = maps.run(self.by(algorithm), [case])
        expected_generator, expected_weights = oracle.gradient(*case)
        assert maps.relative(output, oracle.rotation(generator) @ case[1]) < bound
        assert maps.relative(of_generator, expected_generator) < bound
        assert maps.relative(of_weights, expected_weights) < bound

    @pytest.mark.parametrize("condition, bound", [(1e3, 1e-3), (1e4, 5e-3), (1e5, 5e-2)])
    def test_gradients_where_one_singular_value_is_small(self, algorithm, condition, bound):
        generator = _rounded(generators.with_values([*np.geomspace(1, 0.1, 99), 1 / condition]))
        case = maps.case(generator, 16)
        ((output, of_generator, of_weights),) = maps.run(self.by(algorithm), [case])
        expected_generator, expected_weights = oracle.gradient(*case)
        assert maps.relative(output, oracle.rotation(generator) @ case[1]) < 1e-5
        assert maps.relative(of_generator, expected_generator) < bound
        assert maps.relative(of_weights, expected_weights) < 1e-5


@pytest.mark.parametrize("row", [0, 2, 4])
@pytest.mark.parametrize("of_others", ["the next one", "zero"])
@pytest.mark.parametrize("algorithm", ["svd", "newton", "rational"])
def test_a_row_that_depends_exactly_on_the_others(algorithm, of_others, row):
    """What is left of it is zero, not a rounding error: L's inverse is not finite then."""
    singular = np.eye(5)
    singular[row] = singular[(row + 1) % 5] if of_others != "zero" else 0.0
    (rotation,) = maps.rotations(functools.partial(lowdin, algorithm=algorithm), [singular])
    assert generators.orthogonality_error(rotation) < 1e-5
    symmetric = rotation.T @ singular
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-6)
    assert np.linalg.eigvalsh(symmetric).min() > -1e-6


@pytest.mark.parametrize("algorithm", ["newton", "rational"])
@pytest.mark.parametrize("size, condition", [(27, 1e7), (144, 5e6)])
def test_singular_values_that_replace_a_faster_algorithm_are_those_of_float64(algorithm, size, condition):
    """In float32 TensorFlow's decomposition makes several of these zero."""
    case = maps.case(_rounded(generators.with_condition(size, condition)), 4)
    ((output, of_generator, _),) = maps.run(functools.partial(lowdin, algorithm=algorithm), [case])
    assert maps.relative(output, oracle.rotation(case[0]) @ case[1]) < 1e-6
    assert maps.relative(of_generator, oracle.gradient(*case)[0]) < 1e-6
