"""What the tests of every orthogonal map need: run it with its gradient, in one session."""

import numpy as np
import pytest

from common.compat import tf

ALL_SIZES = [*range(1, 11), 27, 64, 65, 144]
every_size = pytest.mark.parametrize(
    "sizes", [pytest.param([1, 2, 3, 8, 27, 64], id="some"), pytest.param(ALL_SIZES, id="all", marks=pytest.mark.slow)]
)


def run(rotate, cases, dtype=tf.float32):
    """Returns [(output, generator's gradient, weights' gradient)] for `cases` of (generator, weights, upstream)."""
    fetches = []
    for generator, weights, upstream in cases:
        inputs = [tf.constant(np.asarray(value), dtype) for value in (generator, weights)]
        output = rotate(*inputs)
        fetches.append([output, *tf.gradients(output, inputs, [tf.constant(np.asarray(upstream), dtype)])])
    with tf.Session() as session:
        return session.run(fetches)


def case(generator, columns, seed=0):
    """(generator, weights, upstream) with N(0, 1) weights and upstream gradient of so many columns."""
    random = np.random.default_rng([seed, len(generator), columns])
    return generator, random.normal(size=(len(generator), columns)), random.normal(size=(len(generator), columns))


def rotations(rotate, generators, dtype=tf.float32):
    """Returns Q of each generator: the map applied to the identity."""
    outputs = [rotate(tf.constant(value, dtype), tf.eye(len(value), dtype=dtype)) for value in generators]
    with tf.Session() as session:
        return session.run(outputs)


def nodes(rotate, size, columns=64, batch=()):
    """Counts the graph nodes of the map and its gradient, those inside functions (branches of conditionals) included.

    Its two inputs and the upstream gradient are not counted.
    """
    with tf.Graph().as_default() as graph:
        *given, upstream = [tf.placeholder(tf.float32, [*batch, size, width]) for width in (size, columns, columns)]
        tf.gradients(rotate(*given), given, [upstream])
        definition = graph.as_graph_def()
        return len(definition.node) + sum(len(function.node_def) for function in definition.library.function) - 3


def slope(rotate, generator, weights, upstream, step=1e-5, seed=0):
    """Central differences of sum(upstream * rotate) in float64 along one random direction per argument.

    Returns [(difference, product of the gradient with the direction)] for generator and weights.
    """
    random = np.random.default_rng(seed)
    values = [tf.placeholder(tf.float64, np.shape(value)) for value in (generator, weights)]
    total = tf.reduce_sum(upstream * rotate(*values))
    gradients = tf.gradients(total, values)
    point = dict(zip(values, (generator, weights)))
    pairs = []
    with tf.Session() as session:
        for value, gradient in zip(values, session.run(gradients, point)):
            direction = random.normal(size=gradient.shape)
            ahead = session.run(total, {**point, value: point[value] + step * direction})
            behind = session.run(total, {**point, value: point[value] - step * direction})
            pairs.append(((ahead - behind) / (2 * step), np.sum(gradient * direction)))
    return pairs


def relative(actual, expected):
    """The Frobenius norm of the difference over that of what was expected."""
    return np.linalg.norm(np.asarray(actual, np.float64) - expected) / max(np.linalg.norm(expected), 1e-300)
