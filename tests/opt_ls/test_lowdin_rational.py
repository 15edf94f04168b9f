"""The rational function: Zolotarev's sum, and when it is trusted. Its values are held to NumPy in test_lowdin.py."""

import numpy as np
import pytest

from common.compat import tf
from common.graph.members import Members
from opt_ls import lowdin
from opt_ls.lowdin_rational import halley_weights, inverse_root, rational
from tests.oracles import generators, maps


@pytest.mark.parametrize("largest, terms, bound", [(2.0, 2, 2e-5), (2.36, 3, 6e-7), (8.0, 5, 1e-6), (100.0, 8, 1e-5)])
def test_the_sum_is_the_best_approximation(largest, terms, bound):
    """Errors of one size and alternating signs at 2 terms + 2 points: no function of its kind has smaller ones."""
    shifts, weights, constant = inverse_root(largest, terms)
    points = np.geomspace(1, largest**2, 100001)
    errors = np.sqrt(points) * (constant + np.sum(weights / (points[:, np.newaxis] + shifts), 1)) - 1
    size = np.abs(errors).max()
    assert 0 < size < bound
    extreme = np.sign(errors[np.abs(errors) > 0.99 * size])
    assert 1 + np.count_nonzero(np.diff(extreme)) == 2 * terms + 2
    assert (shifts > 0).all() and (weights > 0).all() and constant > 0


CASES = [(1.1, "float64"), (50.0, "float64"), (166.0, "float64"), (166.0, "float32")]


@pytest.mark.parametrize("largest, dtype", CASES)
def test_halley_s_step_leaves_the_least_range_of_singular_values(largest, dtype):
    """Least and greatest are each taken twice, alternately, which is best for a function with three free numbers."""
    weights, left = halley_weights(tf.constant(largest, dtype))
    with tf.Session() as session:
        (p, q, k), left = session.run([weights, left])
    points = np.geomspace(1, largest, 200001)
    values = points * (p + q / (1 + k * points**2))
    rounding = 1e-5 if dtype == "float32" else 1e-9
    assert 1 - rounding < values.min() and values.max() < left * (1 + rounding)
    near = np.where(values < 1 + 1e-4 * (left - 1), -1, np.where(values > left - 1e-4 * (left - 1), 1, 0))
    assert 1 + np.count_nonzero(np.diff(near[near != 0])) == 4
    assert left < 1 + (largest - 1) / 4


def _trusted(generator, weights):
    generator, weights = (tf.constant(value[np.newaxis], tf.float32) for value in (generator, weights))
    with tf.Session() as session:
        return session.run(rational(generator, weights, Members("lowdin", ["the generator"]))[2])[0]


@pytest.mark.parametrize("size", [1, 5, 27, 144])
def test_normal_generators_are_trusted(size):
    random = np.random.default_rng(0).normal(size=(size, 3))
    assert _trusted(generators.normal(size), random) and _trusted(generators.normal(size), 1e-25 * random)
    assert _trusted(generators.normal(size), np.eye(size))


@pytest.mark.parametrize("condition, trusted", [(1, True), (1e3, True), (1e5, True), (1e6, False)])
def test_only_generators_within_the_range_are_trusted(condition, trusted):
    assert _trusted(generators.with_condition(64, condition), np.ones((64, 2))) == trusted


CALLS = [("rational", 1e3, 0), ("rational", 1e6, 2), ("newton", 1e5, 0), ("newton", 1e7, 2)]


@pytest.mark.parametrize("algorithm, condition, calls", CALLS)
def test_singular_values_are_computed_only_where_they_are_needed(monkeypatch, algorithm, condition, calls):
    """One decomposition for the output and one for its gradient, none where the faster algorithm serves."""
    counted = []

    def count(matrix):
        counted.append(0)
        return matrix

    decompose = tf.linalg.svd

    def counting(matrix):
        return decompose(tf.ensure_shape(tf.py_func(count, [matrix], tf.float64), matrix.shape))

    monkeypatch.setattr(tf.linalg, "svd", counting)
    case = maps.case(generators.with_condition(64, condition), 4)
    maps.run(lambda *inputs: lowdin.lowdin(*inputs, algorithm=algorithm), [case])
    assert len(counted) == calls
