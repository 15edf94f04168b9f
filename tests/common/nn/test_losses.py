"""Losses and regularisers against NumPy."""

import numpy as np

from common.compat import tf
from common.nn import losses

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(0.0, 3.0, [8, 5]), RNG.integers(0, 5, 8)
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def evaluate(tensor):
    with tf.Session() as session:
        return session.run(tensor)


def test_cross_entropy():
    actual = evaluate(losses.cross_entropy(tf.constant(LOGITS), tf.constant(LABELS)))
    np.testing.assert_allclose(actual, -np.log(SOFTMAX[np.arange(8), LABELS]), rtol=1e-10)


def test_smoothed_cross_entropy():
    targets = 0.99 * np.eye(5)[LABELS] + 0.01 / 5
    expected = -(targets * np.log(SOFTMAX + 1e-4)).sum(axis=1)
    actual = evaluate(losses.smoothed_cross_entropy(tf.constant(LOGITS), tf.constant(LABELS)))
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_gradient_of_smoothed_cross_entropy_is_the_slope():
    """Along random directions, by differences of NumPy's losses."""
    targets, weights = 0.99 * np.eye(5)[LABELS] + 0.01 / 5, RNG.normal(size=8)

    def loss(logits):
        softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -(weights[:, None] * targets * np.log(softmax + 1e-4)).sum()

    logits = tf.constant(LOGITS)
    gradient = evaluate(tf.gradients(losses.smoothed_cross_entropy(logits, LABELS), logits, tf.constant(weights))[0])
    for direction in RNG.normal(size=[5, *LOGITS.shape]):
        slope = (loss(LOGITS + 1e-6 * direction) - loss(LOGITS - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_smoothed_cross_entropy_is_bounded_for_hopeless_images():
    logits = tf.constant([[1000.0, 0.0, 0.0]], tf.float32)
    loss = losses.smoothed_cross_entropy(logits, tf.constant([1]))
    actual, gradient = evaluate([loss, tf.gradients(loss, logits)[0]])
    assert actual[0] < -np.log(1e-4) + 0.1
    assert np.all(np.isfinite(gradient))


def test_decay_is_half_the_coefficient_times_the_squares():
    values = [RNG.normal(size=[3, 4]), RNG.normal(size=[5])]
    actual = evaluate(losses.decay([tf.constant(value) for value in values], 0.3))
    np.testing.assert_allclose(actual, 0.15 * sum((value**2).sum() for value in values), rtol=1e-12)
    assert losses.decay([], 0.3) == 0.0


def test_orthogonality():
    kernels = [RNG.normal(size=[3, 3, 2, 4]), RNG.normal(size=[6, 2])]
    expected = 0.0
    for kernel in kernels:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        expected += 0.05 * ((matrix.T @ matrix - np.eye(matrix.shape[1])) ** 2).sum()
    actual = evaluate(losses.orthogonality([tf.constant(kernel) for kernel in kernels], 0.1))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_gradient_of_orthogonality():
    """Against central differences along a random direction."""
    kernel, direction = RNG.normal(size=[3, 3, 2, 4]), RNG.normal(size=[3, 3, 2, 4])
    place = tf.placeholder(tf.float64, kernel.shape)
    loss = 3.0 * losses.orthogonality([place], 0.1)
    (gradient,) = tf.gradients(loss, [place])
    with tf.Session() as session:
        slope = np.sum(session.run(gradient, {place: kernel}) * direction)
        ends = [session.run(loss, {place: kernel + step * direction}) for step in (1e-5, -1e-5)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-7)


def test_sure_answers_at_chance_have_the_loss_that_is_said():
    """Each of 5 classes surely answered once for an image of each class: 4 in 5 are wrong, whatever the smoothing."""
    logits, labels = np.repeat(1000.0 * np.eye(5), 5, axis=0), np.tile(np.arange(5), 5)
    for smoothing in (0.0, 0.01, 0.3):
        loss = losses.smoothed_cross_entropy(tf.constant(logits), tf.constant(labels), smoothing)
        np.testing.assert_allclose(evaluate(tf.reduce_mean(loss)), losses.sure_at_chance(5), rtol=1e-4)
    assert abs(losses.sure_at_chance(10) - 8.28931) < 1e-5
