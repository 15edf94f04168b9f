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
    padded = _run(blocks.padded(tf.constant(matrix[np.newaxis])))[0]
    assert len(padded) % blocks.BLOCKS == 0 and len(padded) - size < blocks.BLOCKS
    expected = np.eye(len(padded))
    expected[-size:, -size:] = matrix
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize("shifts", [[0.0], [0.5, 1.0, 30.0], [[0.5, 1.0], [2.0, 30.0]]])
@pytest.mark.parametrize("size", SIZES)
def test_shifted_squares_are_solved(size, shifts):
    """A batch of two, with the same shifts or with their own."""
    random = np.random.default_rng(size)
    rows = random.normal(size=(2, size, size)) / np.sqrt(size) + np.eye(size)
    right = random.normal(size=(2, size, 3))
    solved = _run(blocks.solve(blocks.halve(tf.constant(rows), shifts), tf.constant(right)))
    shifts = np.broadcast_to(shifts, [2, np.shape(shifts)[-1]])
    squares = (rows @ rows.transpose(0, 2, 1))[:, np.newaxis] + shifts[..., np.newaxis, np.newaxis] * np.eye(size)
    np.testing.assert_allclose(squares @ solved, np.broadcast_to(right[:, np.newaxis], solved.shape), atol=1e-9)
