"""Generators of several sizes as one batch, as on a GPU: results and gradients are those of each map alone."""

import numpy as np
import pytest

from common.cli import recipe
from common.compat import tf
from common.graph import linalg, side_by_side
from common.nn.map_batches import apply_map

SIZES, COLUMNS = (5, 8, 3, 8), (2, 4, 4, 3)
METHODS = [name for name, method in recipe.methods().items() if hasattr(method.factories["auto"], "rotate")]


def rotated(rotate, generators, weights, upstream):
    """Returns Q(P) W of each layer and the gradients of the generators."""
    with tf.Graph().as_default(), tf.Session() as session:
        given = [tf.constant(matrix) for matrix in generators]
        results = apply_map(rotate, given, [tf.constant(w) for w in weights], [f"layer{i}" for i in range(len(given))])
        gradients = tf.gradients(results, given, [tf.constant(g) for g in upstream])
        return session.run([results, gradients])


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("method", METHODS)
def test_padded_generators_give_what_each_gives_alone(monkeypatch, method, dtype, tolerance):
    monkeypatch.setattr(linalg, "fast_in_float64", lambda: True)
    rotate = recipe.methods()[method].factories["auto"].rotate
    random = np.random.default_rng(1)
    generators = [random.normal(size=[n, n]).astype(dtype) for n in SIZES]
    weights, upstream = [[random.normal(size=[n, m]).astype(dtype) for n, m in zip(SIZES, COLUMNS)] for _ in range(2)]
    alone = rotated(rotate, generators, weights, upstream)
    monkeypatch.setattr(linalg, "on_gpu", lambda: True)
    together = rotated(rotate, generators, weights, upstream)
    for found, wanted in zip(together[0] + together[1], alone[0] + alone[1], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


def test_sizes_go_together_where_little_is_added(monkeypatch):
    assert side_by_side.padded_sizes([27, 576, 1024]) == {27: 27, 576: 576, 1024: 1024}
    monkeypatch.setattr(linalg, "on_gpu", lambda: True)
    assert side_by_side.padded_sizes([27, *[576] * 5, 1024]) == {27: 576, 576: 576, 1024: 1024}
    assert side_by_side.padded_sizes([27, *[144] * 5, 256]) == {27: 256, 144: 256, 256: 256}
    assert side_by_side.padded_sizes([]) == {}
