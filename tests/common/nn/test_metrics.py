"""Errors and geometry against NumPy."""

import numpy as np

from common.compat import tf
from common.nn import metrics


def evaluate(tensor):
    with tf.Session() as session:
        return session.run(tensor)


def test_errors_of_one_and_of_k():
    logits = np.random.default_rng(0).normal(size=[50, 10])
    labels = np.random.default_rng(1).integers(0, 10, 50)
    rank = (logits > logits[np.arange(50), labels][:, None]).sum(axis=1)
    for k in (1, 5):
        actual = evaluate(metrics.errors(tf.constant(logits), tf.constant(labels), k))
        np.testing.assert_array_equal(actual, (rank >= k).astype(float))


def test_more_classes_asked_for_than_there_are():
    assert evaluate(metrics.errors(tf.constant([[1.0, 2.0]]), tf.constant([0]), 5)) == [0.0]


def test_equal_logits_are_right_by_chance_only():
    labels = tf.constant(np.arange(10))
    for k in (1, 5):
        assert evaluate(metrics.errors(tf.zeros([10, 10]), labels, k)).mean() == 1 - k / 10


def test_logits_that_are_not_finite_are_errors():
    assert evaluate(metrics.errors(tf.constant([[np.nan, 2.0]]), tf.constant([0]))) == [1.0]


def energy(weights, power):
    """The definition, pair by pair."""
    unit = weights / np.linalg.norm(weights, axis=0)
    pairs = [(i, j) for i in range(unit.shape[1]) for j in range(unit.shape[1]) if i != j]
    distances = np.array([np.linalg.norm(unit[:, i] - unit[:, j]) for i, j in pairs])
    return np.mean(-np.log(distances) if power == 0 else distances**-power)


def test_hyperspherical_energy_is_the_mean_over_pairs():
    weights = np.random.default_rng(2).normal(size=[7, 6])
    for power in (0, 1, 2):
        actual = evaluate(metrics.hyperspherical_energy(tf.constant(weights, tf.float32), power))
        np.testing.assert_allclose(actual, energy(weights, power), rtol=1e-6)


def test_hyperspherical_energy_of_opposite_and_of_single_neurons():
    opposite = tf.constant([[1.0, -3.0], [0.0, 0.0]])
    assert abs(evaluate(metrics.hyperspherical_energy(opposite, 1)) - 0.5) < 1e-9
    assert evaluate(metrics.hyperspherical_energy(tf.ones([4, 1]))) == 0.0


def test_hyperspherical_energy_of_equal_neurons_is_finite():
    assert np.isfinite(evaluate(metrics.hyperspherical_energy(tf.ones([4, 3]), 2)))


def test_orthogonality_error():
    matrix = np.random.default_rng(3).normal(size=[5, 5])
    orthogonal, _ = np.linalg.qr(matrix)
    expected = np.linalg.norm(matrix @ matrix.T - np.eye(5))
    np.testing.assert_allclose(evaluate(metrics.orthogonality_error(tf.constant(matrix))), expected, rtol=1e-12)
    assert evaluate(metrics.orthogonality_error(tf.constant(orthogonal))) < 1e-14


def test_arrays_alone():
    """No graph, no session, kernels of any number of axes."""
    random = np.random.default_rng(4)
    kernel, matrix = random.normal(size=[3, 3, 2, 6]), random.normal(size=[5, 5])
    for power in (0, 1, 2):
        actual = metrics.of_arrays(metrics.hyperspherical_energy, kernel, power=power)
        np.testing.assert_allclose(actual, energy(kernel.reshape(18, 6), power), rtol=1e-9)
    expected = np.linalg.norm(matrix @ matrix.T - np.eye(5))
    np.testing.assert_allclose(metrics.of_arrays(metrics.orthogonality_error, matrix), expected, rtol=1e-12)
    scores, labels = random.normal(size=[50, 10]), random.integers(0, 10, 50)
    rank = (scores > scores[np.arange(50), labels][:, None]).sum(axis=1)
    np.testing.assert_array_equal(metrics.of_arrays(metrics.errors, scores, labels, k=3), rank >= 3)
    assert tf.get_default_graph().get_operations() == []
