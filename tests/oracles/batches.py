"""What holds for every map of a batch, whatever the algorithm: for tests of the maps."""

import numpy as np
import pytest

from common.compat import tf
from tests.oracles import generators, maps

COUNT, SIZE, COLUMNS = 5, 20, 3


def case(seed=0):
    """(generator [5, 20, 20], weights, upstream)."""
    random = np.random.default_rng(seed)
    stack = np.stack([generators.normal(SIZE, seed * COUNT + index) for index in range(COUNT)])
    return stack, random.normal(size=(COUNT, SIZE, COLUMNS)), random.normal(size=(COUNT, SIZE, COLUMNS))


def equals_its_members(rotate, tolerance=1e-11):
    """A batch gives what a call for each member gives, forward and backward; two batch dimensions as one."""
    stack = case()
    folded = [np.stack([value, value[::-1]]) for value in stack]
    one, two = maps.run(rotate, [stack, folded], tf.float64)
    singles = maps.run(rotate, list(zip(*stack)), tf.float64)
    for whole, twice, single in zip(one, two, zip(*singles)):
        np.testing.assert_allclose(whole, single, rtol=tolerance, atol=tolerance * np.abs(whole).max())
        np.testing.assert_allclose(twice, [whole, whole[::-1]], rtol=tolerance, atol=tolerance * np.abs(whole).max())


def leaves_the_others_alone(rotate, hard, index=2):
    """A member that needs a slower algorithm changes no bit of the others, and is as right as alone."""
    good = case()
    mixed = [value.copy() for value in good]
    mixed[0][index] = hard
    expected, found = maps.run(rotate, [good, mixed])
    (alone,) = maps.run(rotate, [[value[index] for value in mixed]])
    others = np.arange(COUNT) != index
    for value, other, single in zip(found, expected, alone):
        np.testing.assert_array_equal(value[others], other[others])
        np.testing.assert_allclose(value[index], single, rtol=1e-4, atol=1e-4 * np.abs(single).max())


def names_the_member(rotate, name, bad, fault):
    """An error says whose generator it is: by its name, by its number, or not at all if there is but one."""
    stack, weights, _ = case()
    stack[3] = bad
    names = ["conv1_0", "conv1_1", "conv2_0", "conv2_1", "conv3_0"]
    calls = [
        (stack, weights, names, "the generator of conv2_1"),
        (stack, weights, None, "the generator of member 3 of the batch"),
        (stack[3], weights[3], None, "the generator"),
        (stack[3], weights[3], ["fc6"], "the generator of fc6"),
    ]
    for generator, right, known, subject in calls:
        result = rotate(tf.constant(generator, tf.float32), tf.constant(right, tf.float32), names=known)
        with tf.Session() as session:
            with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name}: {subject} {fault}"):
                session.run(result)


def has_as_many_nodes(rotate):
    """The graph of a batch does not grow with it."""
    counts = set()
    for batch in (1, 2, 5):
        with tf.Graph().as_default() as graph:
            given = [tf.placeholder(tf.float32, [batch, 64, columns]) for columns in (64, 8, 8)]
            tf.gradients(rotate(*given[:2]), given[:2], given[2:])
            counts.add(maps.count(graph))
    assert len(counts) == 1, counts
