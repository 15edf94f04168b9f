"""Inverses by halves against NumPy."""

import numpy as np
import pytest

from common.compat import tf
from opt_ls import lowdin_blocks as blocks

SIZES = [blocks.BLOCKS, 2 * blocks.BLOCKS, 40, 144]


def _run(tensor):
    with tf.Session() as session:
        return session.run(tensor)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 27])
def test_padding_is_a_block_of_the_identity(size):
    matrix = np.random.default_rng(size).normal(size=(size, size))
    padded = _run(blocks.padded(tf.constant(matrix)))
    assert len(padded) % blocks.BLOCKS == 0 and len(padded) - size < blocks.BLOCKS
    expected = np.eye(len(padded))
    expected[-size:, -size:] = matrix
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize("shifts", [[0.0], [0.5, 1.0, 30.0]])
@pytest.mark.parametrize("size", SIZES)
def test_shifted_squares_are_solved(size, shifts):
    random = np.random.default_rng(size)
    rows = random.normal(size=(size, size)) / np.sqrt(size) + np.eye(size)
    shared, each = random.normal(size=(size, 3)), random.normal(size=(len(shifts), size, 3))
    halves = blocks.halve(tf.constant(rows), shifts)
    actual = _run([blocks.solve(halves, tf.constant(right)) for right in (shared, each)])
    squares = rows @ rows.T + np.multiply.outer(shifts, np.eye(size))
    for solved, right in zip(actual, (np.stack([shared] * len(shifts)), each)):
        np.testing.assert_allclose(squares @ solved, right, atol=1e-9)
