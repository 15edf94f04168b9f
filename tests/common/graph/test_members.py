"""A map of a batch: arguments, members that are replaced, and errors that name one."""

import re

import numpy as np
import pytest

from common.compat import tf
from common.console import one_line
from common.graph.members import Members, run_algorithm


def _product(generator, weights, members):
    """Q = P, unless its first entry is not positive."""
    generator = members.require(generator[:, 0, 0] > 0, generator, "is bad")
    rotated = tf.matmul(generator, weights)
    return rotated, lambda upstream: (
        tf.matmul(upstream, weights, transpose_b=True),
        tf.matmul(generator, upstream, transpose_a=True),
    )


def _apply(generator, weights, names=None, algorithm="auto"):
    return run_algorithm("product", {"auto": _product}, algorithm, tf.constant(generator), tf.constant(weights), names)


@pytest.mark.parametrize("batch", [[], [1], [3], [2, 3]])
def test_any_number_of_batch_dimensions(batch):
    random = np.random.default_rng(0)
    generator, weights = random.uniform(size=[*batch, 4, 4]), random.uniform(size=[*batch, 4, 2])
    result = _apply(generator, weights)
    assert result.shape.as_list() == [*batch, 4, 2]
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(result), generator @ weights, rtol=1e-12)


@pytest.mark.parametrize("generator, weights, message", [
    ([3, 4], [3, 2], "the generator has shape (3, 4), expected [..., n, n] with n >= 1"),
    ([3], [3, 2], "the generator has shape (3,), expected [..., n, n] with n >= 1"),
    ([0, 0], [0, 2], "the generator has shape (0, 0), expected [..., n, n] with n >= 1"),
    ([2, 3, 3], [3, 2], "the weights have shape (3, 2), expected [2, 3, m] like the generator"),
    ([3, 3], [4, 2], "the weights have shape (4, 2), expected [3, m] like the generator"),
    ([3, 3], [3], "the weights have shape (3,), expected [3, m] like the generator"),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_named(generator, weights, message):
    with pytest.raises(ValueError, match=f"^product: {re.escape(message)}$"):
        _apply(np.ones(generator), np.ones(weights))


@pytest.mark.parametrize("types", [("float32", "float64"), ("int32", "int32")])
def test_types_that_do_not_fit_are_named(types):
    with pytest.raises(ValueError, match=f"product: generator and weights are {' and '.join(types)}, expected both"):
        _apply(np.ones([3, 3], types[0]), np.ones([3, 2], types[1]))


def test_names_and_algorithms_that_do_not_fit_are_named():
    ones = np.ones([2, 3, 3])
    with pytest.raises(ValueError, match="product: 1 names for 2 generators, expected one for each"):
        _apply(ones, ones, ["a"])
    with pytest.raises(ValueError, match="product: the algorithm is 'qr', expected one of auto"):
        _apply(ones, ones, algorithm="qr")


def test_an_error_names_the_first_member_in_one_line():
    generator = np.ones([3, 2, 2])
    generator[1:] = -1
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError) as error:
        session.run(_apply(generator, generator, ["fc6", "conv1_0", "conv1_1"]))
    assert one_line(error.value).startswith("product: the generator of conv1_0 is bad")


def test_only_members_that_are_not_trusted_are_replaced_also_within_each_other():
    members = Members("map", [f"the generator of {name}" for name in "abcd"])
    seen = []

    def twice(few, values):
        return few.replace(values < 30, 2 * values, thrice, values)

    def thrice(few, values):
        seen.append(values)
        with tf.control_dependencies([few.check(values < 40, "is too large")]):
            return 3 * values

    given = tf.placeholder(tf.float32, [4])
    result = members.replace(given < 20, given, twice, given)
    with tf.Session() as session:
        assert session.run(result, {given: [1, 25, 2, 35]}).tolist() == [1, 50, 2, 105]
        assert session.run(result, {given: [1, 2, 3, 4]}).tolist() == [1, 2, 3, 4]
        with pytest.raises(tf.errors.InvalidArgumentError, match="map: the generator of d is too large"):
            session.run(result, {given: [1, 25, 35, 45]})
    assert len(seen) == 1
