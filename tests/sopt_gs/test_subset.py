"""Stochastic OPT against NumPy: the kernel, the merge, the draw."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import variables
from common.graph.variables import Role
from common.nn import kernels
from common.nn.kernels import Layer, Plan
from opt_gs.gram_schmidt import gram_schmidt
from sopt_gs import subset

SHAPE = [3, 3, 8, 5]
ROWS, CHOSEN = 72, 18
TARGET = np.random.default_rng(0).normal(size=SHAPE)


def build(rotate=gram_schmidt, dtype=tf.float32, rate=0.05):
    """The kernel, the optimizer of the loss sum(kernel * target), the op of a step, and the merge of episode 1."""
    plan = Plan((Layer("layer", tuple(SHAPE)),), ("layer",))
    found = kernels.build(plan, lambda layer: subset.SubsetRotated(rotate, 0.25), dtype)
    kernel = found["layer"].tensor
    optimizer = tf.train.MomentumOptimizer(tf.constant(rate, dtype), tf.constant(0.9, dtype))
    train = optimizer.minimize(tf.reduce_sum(kernel * TARGET), var_list=variables.trainable())
    return kernel, optimizer, train, subset.merge(tf.constant(1, tf.int64), found.values(), [optimizer])


def state(session, optimizer):
    (weights,), (generator,) = variables.with_role(Role.FIXED), variables.with_role(Role.GENERATOR)
    (chosen,) = variables.with_role(Role.SUBSET)
    return session.run([weights, generator, chosen, optimizer.get_slot(generator, "momentum")])


def gram_schmidt_rows(matrix):
    """P = L Q by numpy's QR of the transpose, diagonal of L made positive."""
    q, r = np.linalg.qr(matrix.T)
    return (q * np.sign(np.diag(r))).T


def test_sizes_names_and_start():
    kernel, optimizer, *_ = build()
    names = {variable.op.name: variable.shape.as_list() for variable in variables.with_role(*Role)}
    assert names == {"layer/fix": [ROWS, 5], "layer/rotation": [CHOSEN, CHOSEN], "layer/subset": [CHOSEN]}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        weights, generator, chosen, _ = state(session, optimizer)
        np.testing.assert_array_equal(generator, np.eye(CHOSEN))
        np.testing.assert_array_equal(session.run(kernel), weights.reshape(SHAPE))
    assert len(set(chosen)) == CHOSEN and list(chosen) == sorted(chosen) and 0 <= min(chosen) and max(chosen) < ROWS


@pytest.mark.parametrize("channels", [64, 256])
def test_sizes_of_the_paper(channels):
    """p = k * k * (c_in / 4): 144 of 576."""
    with tf.variable_scope("layer"):
        subset.SubsetRotated(gram_schmidt, 0.25).create([3, 3, channels, 4])
    assert variables.with_role(Role.GENERATOR)[0].shape.as_list() == [9 * channels // 4] * 2


def test_an_episode_against_numpy():
    """100 updates of P in float64 with momentum, the gradient by central differences of the NumPy kernel."""
    kernel, optimizer, train, _ = build(dtype=tf.float64)
    target = TARGET.reshape(ROWS, 5)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        weights, generator, chosen, momentum = state(session, optimizer)
        for _ in range(100):
            session.run(train)
            # d/dP sum((Q(P) W) * T): with U = strict upper triangle of G Y^T - Y G^T, P' = L^-T U Q.
            rotated = gram_schmidt_rows(generator) @ weights[chosen]
            product = target[chosen] @ rotated.T
            lower = generator @ gram_schmidt_rows(generator).T
            upper = np.triu(product - product.T, 1)
            gradient = np.linalg.solve(lower.T, upper @ gram_schmidt_rows(generator))
            momentum = 0.9 * momentum + gradient
            generator = generator - 0.05 * momentum
        _, actual, _, slot = state(session, optimizer)
        expected = weights.copy()
        expected[chosen] = gram_schmidt_rows(generator) @ weights[chosen]
        np.testing.assert_allclose(session.run(kernel).reshape(ROWS, 5), expected, atol=1e-8)
    np.testing.assert_allclose(actual, generator, atol=1e-8)
    np.testing.assert_allclose(slot, momentum, atol=1e-8)


def test_subsets_follow_from_seed_layer_and_episode():
    def drawn(seed, layer, episode):
        tf.set_random_seed(seed)
        return subset.draw(variables.key_of(layer, episode), ROWS, CHOSEN)

    cases = [(0, "a", 0), (0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    with tf.Session() as session:
        draws = session.run([drawn(*case) for case in cases])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len({tuple(draw) for draw in draws}) == 4


def test_every_dimension_is_drawn_as_often():
    episode = tf.placeholder(tf.int64, [])
    drawn = subset.draw(variables.key_of("a", episode), 20, 5)
    counts = np.zeros(20)
    with tf.Session() as session:
        for number in range(800):
            counts[session.run(drawn, {episode: number})] += 1
    assert np.all(np.abs(counts - 200) < 5 * np.sqrt(200 * 0.75))  # five standard deviations


def test_first_subset_is_the_draw_of_episode_zero():
    _, optimizer, *_ = build()
    expected = subset.draw(variables.key_of("layer/subset", 0), ROWS, CHOSEN)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(state(session, optimizer)[2], session.run(expected))
