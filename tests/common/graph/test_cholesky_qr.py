"""Gram-Schmidt by Cholesky's factor in float64, against NumPy's QR."""

import numpy as np
import pytest

from common.compat import tf
from common.graph.cholesky_qr import cholesky_qr
from tests.oracles import generators


def _first(found):
    return type(found)(*[value[0] for value in found])


def _unit(size, condition, dtype):
    rows = generators.with_condition(size, condition)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("passes, condition, trusted", [(1, 1e4, 1), (1, 1e7, 0), (2, 1e7, 1), (2, 1e9, 0)])
def test_a_second_pass_orthonormalises_what_the_first_cannot(passes, condition, trusted):
    vectors = _unit(100, condition, np.float32)
    with tf.Session() as session:
        found = _first(session.run(cholesky_qr(tf.constant(vectors[np.newaxis]), passes)))
    assert found.trusted == trusted
    if trusted:
        assert generators.orthogonality_error(found.rows) < 1e-6
        _, upper = np.linalg.qr(vectors.T.astype(np.float64))
        np.testing.assert_allclose(found.diagonal, np.abs(np.diag(upper)), rtol=1e-2)
        remade = np.linalg.inv(found.inverse.astype(np.float64)) @ found.rows
        assert np.linalg.norm(remade - vectors) < 1e-5 * np.linalg.norm(vectors)


@pytest.mark.parametrize("condition, trusted", [(1e2, True), (1e7, False)])
def test_float64_asks_for_more(condition, trusted):
    with tf.Session() as session:
        found = _first(session.run(cholesky_qr(tf.constant(_unit(60, condition, np.float64)[np.newaxis]))))
    assert found.trusted == trusted
    assert not trusted or generators.orthogonality_error(found.rows) < 1e-13


@pytest.mark.parametrize("bad", [np.ones((4, 4)) / 2, np.full((4, 4), np.nan)])
def test_what_has_no_factor_is_not_trusted_and_no_error(bad):
    with tf.Session() as session:
        assert not session.run(cholesky_qr(tf.constant(bad[np.newaxis], tf.float32)).trusted)
