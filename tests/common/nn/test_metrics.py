"""Errors and geometry against NumPy."""

import numpy as np
import pytest

from common.compat import tf
from common.nn.metrics import errors, hyperspherical_energy, of_arrays, orthogonality_error

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_errors_of_one_and_of_k(k):
    logits, labels = RANDOM.normal(size=[50, 10]), RANDOM.integers(0, 10, 50)
    rank = (logits > logits[np.arange(50), labels][:, None]).sum(axis=1)
    np.testing.assert_array_equal(of_arrays(errors, logits, labels, k=k), rank >= k)


def test_more_classes_asked_for_than_there_are():
    assert of_arrays(errors, [[1.0, 2.0]], [0], k=5) == [0.0]


def test_equal_logits_are_right_by_chance_only():
    for k in (1, 5):
        assert of_arrays(errors, np.zeros([10, 10]), np.arange(10), k=k).mean() == 1 - k / 10


def test_logits_that_are_not_finite_are_errors():
    assert of_arrays(errors, [[np.nan, 2.0]], [0]) == [1.0]


@pytest.mark.parametrize("power", [0, 1, 2])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-9)])
def test_hyperspherical_energy_is_the_mean_over_pairs(power, dtype, tolerance):
    """Of a kernel of any number of axes, by the definition, pair by pair."""
    kernel = RANDOM.normal(size=[3, 3, 2, 6])
    unit = kernel.reshape(18, 6) / np.linalg.norm(kernel.reshape(18, 6), axis=0)
    distances = np.array([np.linalg.norm(unit[:, i] - unit[:, j]) for i in range(6) for j in range(6) if i != j])
    expected = np.mean(-np.log(distances) if power == 0 else distances**-power)
    actual = of_arrays(hyperspherical_energy, kernel.astype(dtype), power=power)
    np.testing.assert_allclose(actual, expected, rtol=tolerance)


def test_hyperspherical_energy_of_opposite_of_equal_and_of_single_neurons():
    assert abs(of_arrays(hyperspherical_energy, [[1.0, -3.0], [0.0, 0.0]]) - 0.5) < 1e-9
    assert np.isfinite(of_arrays(hyperspherical_energy, np.ones([4, 3]), power=2))
    assert of_arrays(hyperspherical_energy, np.ones([4, 1])) == 0.0


def test_orthogonality_error():
    matrix = RANDOM.normal(size=[5, 5])
    expected = np.linalg.norm(matrix @ matrix.T - np.eye(5))
    np.testing.assert_allclose(of_arrays(orthogonality_error, matrix), expected, rtol=1e-12)
    assert of_arrays(orthogonality_error, np.linalg.qr(matrix)[0]) < 1e-14


def test_arrays_leave_the_open_graph_as_it_is():
    of_arrays(orthogonality_error, np.eye(3))
    assert tf.get_default_graph().get_operations() == []
