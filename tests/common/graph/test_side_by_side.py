"""Small tensors as one give what each gives alone, in their order."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import linalg, side_by_side

SHAPES = [(3,), (300, 200), (2, 2, 5), (), (250, 250), (7, 1)]  # two of them are not small on a CPU


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in SHAPES]


@pytest.mark.parametrize("on_gpu, products", [(False, 3), (True, 1)])
def test_an_elementwise_function_is_called_for_small_tensors_together(monkeypatch, arrays, on_gpu, products):
    monkeypatch.setattr(linalg, "on_gpu", lambda: on_gpu)
    calls = []

    def product(first, second):
        calls.append(first)
        return first * second

    results = side_by_side.elementwise(product, list(map(tf.constant, arrays)), [tf.constant(x + 1) for x in arrays])
    assert len(calls) == products
    with tf.Session() as session:
        for value, array in zip(session.run(results), arrays):
            np.testing.assert_array_equal(value, array * (array + 1))


def test_joined_tensors_have_the_same_numbers(arrays):
    with tf.Session() as session:
        found = session.run(side_by_side.joined(list(map(tf.constant, arrays))))
    small = np.concatenate([array.ravel() for array in arrays if array.size <= 50_000])
    for value, wanted in zip(found, [small, arrays[1], arrays[4]], strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_of_nothing_there_is_nothing():
    assert side_by_side.joined([]) == side_by_side.elementwise(tf.add, [], []) == []
