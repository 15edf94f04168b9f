"""The relative form of orthogonality-preserving gradient descent against the published iteration in float64 NumPy."""

import numpy as np
import pytest

from common.compat import tf
from opt_ogd.ogd import RelativeGradientDescent
from opt_ogd.relative import relative_gradient_step, rotate_relative
from tests.oracles.cayley_descent import published

SIZE, COLUMNS = 40, 6


def problem(seed=0):
    """An orthogonal matrix, weights [n, m] and an upstream gradient [n, m]."""
    random = np.random.RandomState(seed)
    return np.linalg.qr(random.randn(SIZE, SIZE))[0], random.randn(SIZE, COLUMNS), random.randn(SIZE, COLUMNS)


def evaluate(*tensors):
    with tf.Session() as session:
        return session.run(tensors)


def step(x, u, r, learning_rate, beta):
    return evaluate(*relative_gradient_step(*[tf.constant(v, tf.float64) for v in (x, u, r, learning_rate, beta)]))


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
def test_rotated_weights_are_the_product_and_its_gradient_the_relative_one(dtype, tolerance):
    x, weights, upstream = problem()
    given = [tf.constant(value, dtype) for value in (x, weights, upstream)]
    rotated = rotate_relative(*given[:2])
    results = evaluate(rotated, *tf.gradients(rotated, given[:2], given[2]))
    gradient = upstream @ weights.T  # of the loss <upstream, X W0>
    for actual, expected in zip(results, (x @ weights, gradient @ x.T, x.T @ upstream)):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_relative_gradient_is_the_derivative_along_rotations():
    """d/dt loss((I + t E) X) at t = 0 is <U, E>."""
    x, weights, _ = problem()
    direction = np.random.RandomState(3).randn(SIZE, SIZE)

    def loss(t):
        return np.sum(np.sin((np.eye(SIZE) + t * direction) @ x @ weights))

    given = [tf.constant(value, tf.float64) for value in (x, weights)]
    (relative,) = evaluate(tf.gradients(tf.reduce_sum(tf.sin(rotate_relative(*given))), given[0])[0])
    expected = (loss(1e-6) - loss(-1e-6)) / 2e-6
    np.testing.assert_allclose(np.sum(relative * direction), expected, rtol=1e-6)


@pytest.mark.parametrize("learning_rate", [0.02, 1e3], ids=["rate", "bound"])  # which of the two a = min(...) is
def test_from_orthogonal_matrices_it_is_the_published_step_with_three_passes(learning_rate):
    """W is formed under X X^T = I, which holds here: X, and what is kept of the momentum, are equal to rounding."""
    x, weights, upstream = problem()
    random = np.random.RandomState(1)
    skew = random.randn(SIZE, SIZE) - random.randn(SIZE, SIZE).T
    momentum = 0.3 * (skew - skew.T) @ x
    gradient = upstream @ weights.T
    expected, kept = published(x, gradient, momentum, learning_rate, 0.9, passes=3)
    new, relative = step(x, gradient @ x.T, -2 * x @ momentum.T, learning_rate, 0.9)
    np.testing.assert_allclose(new, expected, rtol=0, atol=1e-13)
    seen_from, _ = published(x, gradient, momentum, learning_rate, 0.9, passes=2)
    np.testing.assert_allclose(relative, -2 * seen_from @ kept.T, rtol=0, atol=1e-12 * np.abs(relative).max())


def descend(x, weights, target, steps, scale, use_published):
    """Returns the matrix after some steps down scale/2 |X W0 - target|^2, by NumPy or through graph and optimizer."""
    if use_published:
        m = np.zeros_like(x)
        for _ in range(steps):
            x, m = published(x, scale * (x @ weights - target) @ weights.T, m, 0.02, 0.9, passes=2)
        return x
    variable = tf.get_variable("layer/rotation", initializer=x)
    residual = rotate_relative(tf.convert_to_tensor(variable), tf.constant(weights)) - target
    optimizer = RelativeGradientDescent(0.02)
    update = optimizer.minimize(scale / 2 * tf.reduce_sum(tf.square(residual)), var_list=[variable])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(update)
        assert optimizer.get_slot(variable, "momentum").op.name == "layer/rotation/RelativeMomentum"
        return session.run(variable)


@pytest.mark.parametrize("scale", [0.002, 0.05])
def test_over_100_steps_it_differs_from_the_published_iteration_by_what_that_one_drifts(scale):
    _, weights, _ = problem()
    target = problem(seed=5)[0] @ weights
    expected = descend(np.eye(SIZE), weights, target, 100, scale, use_published=True)
    actual = descend(np.eye(SIZE), weights, target, 100, scale, use_published=False)
    drift, of_published = [np.linalg.norm(x @ x.T - np.eye(SIZE)) for x in (actual, expected)]
    assert drift < of_published / 10
    assert np.linalg.norm(actual - expected) < of_published
    assert np.linalg.norm(expected - np.eye(SIZE)) > 100 * of_published  # the matrices have gone much further


@pytest.mark.parametrize("angle", [0.2, 0.4])
def test_a_plane_that_rotates_by_t_keeps_its_size_up_to_t_to_the_sixth(angle):
    """X X^T becomes 1 - t^6 / 16 + t^8 / 64 times what it was; with two passes 1 - t^4 / 4 + t^6 / 16."""
    rotate_by = angle * np.array([[0.0, -1.0], [1.0, 0.0]])
    new, _ = step(np.eye(2), -rotate_by, np.zeros((2, 2)), 1.0, 0.0)  # U = -W, a = 1 since |W| = t sqrt(2) < 1
    growth = 1 - angle**6 / 16 + angle**8 / 64
    np.testing.assert_allclose(new @ new.T, growth * np.eye(2), rtol=0, atol=1e-14)


def test_a_step_costs_three_products_of_square_matrices():
    x = tf.zeros([4, 4])
    relative_gradient_step(x, x, x, tf.constant(0.02), tf.constant(0.9))
    assert [op.type for op in tf.get_default_graph().get_operations()].count("MatMul") == 3


def test_no_rate_leaves_the_matrix_where_it_is():
    x, weights, upstream = problem()
    gradient = upstream @ weights.T @ x.T
    new, relative = step(x, gradient, np.zeros_like(x), 0.0, 0.9)
    np.testing.assert_array_equal(new, x)
    np.testing.assert_allclose(relative, gradient.T - gradient, rtol=0, atol=1e-12)


def test_other_shapes_are_refused():
    weights = tf.get_variable("weights", initializer=np.zeros([3, 4]))
    with pytest.raises(ValueError, match="RelativeGradientDescent was given weights of shape .* square"):
        RelativeGradientDescent(0.1).apply_gradients([(tf.ones_like(weights), weights)])
