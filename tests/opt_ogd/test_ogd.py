"""Orthogonality-preserving gradient descent against float64 NumPy."""

import numpy as np
import pytest

from common.compat import tf
from opt_ogd.ogd import OrthogonalGradientDescent, cayley_gradient_step
from tests.oracles.cayley_descent import published

KINDS = pytest.mark.parametrize("use_resource", [True, False], ids=["resource", "reference"])


def gradients(n, steps, scale):
    return scale * np.random.RandomState(0).randn(steps, n, n)


def train(x, fed, dtype, use_resource=True, learning_rate=0.02, beta=0.9):
    """Returns the matrix and its momentum after one step for each of the gradients `fed`."""
    variable = tf.get_variable("layer/rotation", initializer=x.astype(dtype), use_resource=use_resource)
    gradient = tf.placeholder(dtype, x.shape)
    optimizer = OrthogonalGradientDescent(learning_rate, beta)
    update = optimizer.apply_gradients([(gradient, variable)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for value in fed:
            session.run(update, {gradient: value})
        slot = optimizer.get_slot(variable, "momentum")
        assert slot.op.name == "layer/rotation/Momentum"
        return session.run([variable, slot])


@KINDS
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-11), ("float32", 1e-4)])
@pytest.mark.parametrize("scale", [0.01, 3.0], ids=["rate", "bound"])  # which of the two a = min(...) is
def test_follows_numpy_over_100_steps(scale, dtype, tolerance, use_resource):
    fed = gradients(12, 100, scale)
    x, m = np.eye(12), np.zeros((12, 12))
    for gradient in fed:
        x, m = published(x, gradient, m, 0.02, 0.9)
    actual = train(np.eye(12), fed, dtype, use_resource)
    np.testing.assert_allclose(actual[0], x, rtol=0, atol=tolerance)
    np.testing.assert_allclose(actual[1], m, rtol=0, atol=tolerance * max(1.0, np.abs(m).max()))


def test_step_is_exact_for_a_matrix_that_is_not_orthogonal():
    """The formula must not use X X^T = I, which holds only up to the drift."""
    x, g, m = np.random.RandomState(1).randn(3, 6, 6)
    expected = published(x, g, m, 0.02, 0.9)
    with tf.Session() as session:
        actual = session.run(cayley_gradient_step(*[tf.constant(value, tf.float64) for value in (x, g, m, 0.02, 0.9)]))
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-12)


def test_a_step_costs_six_products():
    x = tf.zeros([4, 4])
    cayley_gradient_step(x, x, x, tf.constant(0.02), tf.constant(0.9))
    assert [op.type for op in tf.get_default_graph().get_operations()].count("MatMul") == 6


def test_first_order_behaviour_is_gradient_descent_on_the_group():
    """At X = I and M = 0 the matrix W is the skew part of -G, so X moves by -a (G - G^T) / 2 + O(a^2)."""
    g = np.random.RandomState(2).randn(5, 5)
    gaps = []
    for rate in (1e-4, 1e-5):
        with tf.Graph().as_default():
            moved, _ = train(np.eye(5), [g], "float64", learning_rate=rate)
        gaps.append(np.abs(moved - np.eye(5) + rate * (g - g.T) / 2).max())
    np.testing.assert_allclose(gaps[0] / gaps[1], 100.0, rtol=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drift_from_orthogonality_is_that_of_the_published_iteration(dtype):
    """|X X^T - I|_F after 100 steps at n = 144 that are all cut to a = 1 / |W|: some hundredths, not rounding."""
    random = np.random.RandomState(0)
    fed = random.randn(100, 144, 16) @ random.randn(16, 144)  # of rank 16, as the gradient through Q W0 with W0 [n, 16]
    x, m = np.eye(144), np.zeros((144, 144))
    for gradient in fed:
        x, m = published(x, gradient, m, 0.02, 0.9)
    actual = train(np.eye(144), fed, dtype)[0].astype("float64")
    drift, expected = [np.linalg.norm(matrix @ matrix.T - np.eye(144)) for matrix in (actual, x)]
    np.testing.assert_allclose(drift, expected, rtol=1e-3)
    assert 0.02 < drift < 0.5


@pytest.mark.parametrize("shape", [(3, 4), (3,), (2, 2, 2)])
def test_other_shapes_are_refused(shape):
    weights = tf.get_variable("weights", initializer=np.zeros(shape))
    with pytest.raises(ValueError, match="was given weights of shape .* square"):
        OrthogonalGradientDescent(0.1).apply_gradients([(tf.ones_like(weights), weights)])
