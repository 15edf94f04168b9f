"""Stochastic OPT with every map: where P starts Q is the identity, and a merge leaves the kernels where they are."""

import numpy as np
import pytest

from common.cli.program import run
from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.nn import kernels
from sopt_gs.maps import MAPS, proper_householder
from sopt_gs.train import method
from tests.common.cli.test_recipe import settings_of
from tests.oracles import cayley, maps, orthonormal, polar
from tests.sopt_gs.test_subset import ROWS, build, state

METHOD = method()


def proper(generator):
    """Householder's Q with its last column's sign so that det Q = 1; its own determinant is (-1)^(n-1)."""
    rotation = orthonormal.householder(generator)
    rotation[:, -1] *= (-1.0) ** (len(rotation) - 1)
    return rotation


ORACLES = {"gs": orthonormal.gram_schmidt, "hr": proper, "ls": polar.rotation, "cp": cayley.rotation}
EXACT = {"gs", "hr", "cp"}  # Q at the start is the identity to the last bit; Löwdin's may be off by rounding


@pytest.mark.parametrize("name", MAPS)
def test_kernel_and_merge_against_numpy(name):
    """A merge keeps the kernel and all that is no part of the rotation, bit for bit where the map is exact."""
    kernel, optimizer, train, merge = build(MAPS[name], rate=0.02)
    other = variables.create("other", [3], Role.GAMMA, initializers.normal(1.0))
    tolerance = 0 if name in EXACT else 1e-6
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first, others = session.run([kernel, other])
        w, started, indices, _ = state(session, optimizer)
        np.testing.assert_allclose(first.reshape(ROWS, 5), w, atol=tolerance)
        for _ in range(10):
            session.run(train)
        before = session.run(kernel)
        _, p, _, _ = state(session, optimizer)
        expected = w.astype(np.float64)
        expected[indices] = ORACLES[name](p.astype(np.float64)) @ expected[indices]
        np.testing.assert_allclose(before.reshape(ROWS, 5), expected, atol=1e-5)
        assert np.abs(before - first).max() > 0.1  # it has rotated
        session.run(merge)
        after, others_after = session.run([kernel, other])
        w, p, redrawn, momentum = state(session, optimizer)
    np.testing.assert_allclose(after, before, atol=tolerance)
    np.testing.assert_array_equal(w, before.reshape(ROWS, 5))
    np.testing.assert_array_equal(p, started)
    np.testing.assert_array_equal(momentum, 0.0 * started)
    np.testing.assert_array_equal(others_after, others)
    assert list(redrawn) != list(indices)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", [3, 18, 144, *(pytest.param(size, marks=pytest.mark.slow) for size in (27, 288))])
def test_at_its_start_a_map_is_the_identity(name, size):
    """Also in the sizes of the paper's layers: even and odd, and, from 256 on, Löwdin's rational function."""
    start = kernels.identity_of(MAPS[name])([size, size], tf.float32, None)
    weights = np.random.default_rng(size).normal(size=(size, 4)).astype(np.float32)
    with tf.Session() as session:
        rotated = session.run(MAPS[name](start, tf.constant(weights)))
    np.testing.assert_allclose(rotated, weights, atol=0 if name in EXACT else 2e-6)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_proper_householder_and_its_gradients_against_numpy(size):
    generator, weights, upstream = maps.case(np.random.default_rng(size).normal(size=(size, size)), 3)
    output, *_ = maps.run(proper_householder, [(generator, weights, upstream)], tf.float64)[0]
    np.testing.assert_allclose(output, proper(generator) @ weights, atol=1e-10)
    assert np.linalg.det(proper(generator)) > 0
    for difference, product in maps.slope(proper_householder, generator, weights, upstream):
        np.testing.assert_allclose(product, difference, rtol=1e-5, atol=1e-7)


def test_maps_are_told_apart():
    """The default's runs keep the name that they had before there was a choice."""
    names = {name: METHOD.method(settings_of("sopt_gs", map=name)) for name in MAPS}
    assert names == {"gs": "sopt_gs", "hr": "sopt_gs-hr", "ls": "sopt_gs-ls", "cp": "sopt_gs-cp"}
    assert METHOD.run_name(settings_of("sopt_gs", map="hr")).startswith("sopt_gs-hr_")
    assert METHOD.method(settings_of("sopt_gs", rotation="free")) == "sopt_gs-free"


def test_algorithms_and_baselines_that_do_not_go_with_a_map_are_an_error():
    for options, message in (
        ({"map": "cp", "map_algorithm": "qr"}, "--map_algorithm=qr: sopt_gs-cp has auto, block, cholesky; choose"),
        ({"map": "ls", "map_algorithm": "block"}, "--map_algorithm=block: sopt_gs-ls has auto, svd, newton, rational"),
        ({"map_algorithm": "svd"}, "--map_algorithm=svd: sopt_gs has auto, block, cholesky, qr"),
        ({"map": "hr", "rotation": "free"}, "--map=hr: --rotation=free has no map"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            run(METHOD, settings_of("sopt_gs", data="cifar100", data_dir="/nowhere", **options))
        assert "\n" not in str(error.value)
