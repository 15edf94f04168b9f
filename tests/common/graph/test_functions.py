"""Bodies of functions that a graph holds once: counts, values and gradients."""

import numpy as np

from common.compat import tf
from common.graph.functions import shared


def _scaled(factors, first, second):
    return factors[0] * tf.matmul(first, tf.sin(second))


def _library(graph, gradient):
    """Returns the names of the functions in a graph, without or with those of gradients."""
    names = [function.signature.name for function in graph.as_graph_def().library.function]
    return [name for name in names if gradient == ("backward" in name)]


def test_calls_of_equal_shapes_share_a_body_and_others_do_not():
    factors, other = [2.0], [2.0]
    square, wide = tf.ones([3, 3]), tf.ones([3, 5])
    calls = [(factors, square), (factors, square + 1.0), (factors, wide), (other, square)]
    for expected, (fixed, right) in zip((1, 1, 2, 3), calls):
        shared(_scaled, fixed)(square, right)
        assert len(_library(tf.get_default_graph(), gradient=False)) == expected
    with tf.Graph().as_default() as graph:
        shared(_scaled, factors)(tf.ones([3, 3]), tf.ones([3, 3]))
        assert len(_library(graph, gradient=False)) == 1


def test_values_and_gradients_are_the_functions_and_gradients_share_a_body_too():
    generator = np.random.default_rng(0)
    left, *rights = generator.normal(size=(4, 3, 3))
    inputs = [tf.constant(right) for right in rights]
    factors = [2.0]
    results = [shared(_scaled, factors)(tf.constant(left), right) for right in inputs]
    gradients = tf.gradients([tf.reduce_sum(tf.square(result)) for result in results], inputs)
    assert len(_library(tf.get_default_graph(), gradient=True)) == 1
    with tf.Session() as session:
        values, slopes = session.run([results, gradients])
    for right, value, slope in zip(rights, values, slopes):
        np.testing.assert_allclose(value, 2 * left @ np.sin(right), rtol=1e-12)
        np.testing.assert_allclose(slope, 2 * np.cos(right) * (left.T @ (2 * value)), rtol=1e-12)
