"""SGD-G and Adam-G on generators: the lengths of P's columns under Householder, of its rows under Gram-Schmidt."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers
from common.nn.kernels import scale_free_axis_of
from common.riemannian.optimizers import AdamG, SgdG
from opt_gs.gram_schmidt import gram_schmidt
from opt_hr.householder import householder
from tests.oracles import orthonormal, riemannian_steps

SIZE, WIDTH = 8, 5
ORACLES = {
    "householder": (householder, orthonormal.householder, orthonormal.householder_gradient),
    "gram_schmidt": (gram_schmidt, orthonormal.gram_schmidt, orthonormal.gram_schmidt_gradient),
}
MAKE = {
    "sgdg": lambda rate, axis: SgdG(rate, 0.9, axis=axis),
    "adamg": lambda rate, axis: AdamG(rate, axis=axis, counting=True),
}
RANDOM = np.random.default_rng(0)
GENERATOR, WEIGHTS, TARGET = RANDOM.normal(size=(SIZE, SIZE)), *RANDOM.normal(size=(2, SIZE, WIDTH))
LENGTHS = 10.0 ** RANDOM.uniform(-3, 3, SIZE)
each_map = pytest.mark.parametrize("name", ORACLES)
each_optimizer = pytest.mark.parametrize("optimizer", MAKE)


def unit(generator, axis):
    return generator / np.linalg.norm(generator, axis=axis, keepdims=True)


def begin(name, optimizer, generator, rate, dtype="float64"):
    """Returns P, Q(P), the loss sum(TARGET * Q(P) WEIGHTS), its gradient, and the op of one step."""
    rotate, axis = ORACLES[name][0], scale_free_axis_of(ORACLES[name][0])
    with tf.variable_scope(None, "layer"):
        variable = tf.get_variable("rotation", initializer=generator.astype(dtype))
    loss = tf.reduce_sum(TARGET.astype(dtype) * rotate(variable, tf.constant(WEIGHTS, dtype)))
    (gradient,) = tf.gradients(loss, [variable])
    train = MAKE[optimizer](rate, axis).apply_gradients([(gradient, variable)])
    return variable, rotate(variable, tf.eye(SIZE, dtype=dtype)), loss, gradient, train


def expected_step(name, optimizer, generator, rate):
    """P after a first step from P of unit vectors, by the published formulas in float64."""
    upright = name == "householder"
    gradient, _ = ORACLES[name][2](generator, WEIGHTS, TARGET)
    point, gradient = (matrix if upright else matrix.T for matrix in (generator, gradient))
    nothing = np.zeros_like(point)
    if optimizer == "sgdg":
        stepped = riemannian_steps.sgd_g(point, gradient, nothing, rate, 0.9)[0]
    else:
        stepped = riemannian_steps.adam_g(point, gradient, nothing, nothing[:1], 1, rate)[0]
    return stepped if upright else stepped.T


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@each_optimizer
@each_map
def test_a_step_of_q_is_the_same_whatever_the_lengths_were(name, optimizer, dtype, tolerance):
    axis = scale_free_axis_of(ORACLES[name][0])
    scaled = GENERATOR * np.expand_dims(LENGTHS, axis)
    found = [begin(name, optimizer, unit(p, axis), 0.01, dtype) for p in (GENERATOR, scaled)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run([q for _, q, *_ in found])
        session.run([train for *_, train in found])
        after = session.run([q for _, q, *_ in found])
    wanted = ORACLES[name][1](expected_step(name, optimizer, unit(GENERATOR, axis), 0.01))
    assert np.linalg.norm(wanted - ORACLES[name][1](GENERATOR)) > 0.01
    for q, start in zip(after, before):
        np.testing.assert_allclose(start, ORACLES[name][1](GENERATOR), rtol=0, atol=tolerance)
        np.testing.assert_allclose(q, wanted, rtol=0, atol=tolerance)


@each_optimizer
@each_map
def test_the_loss_changes_at_first_order_as_the_gradient_says(name, optimizer):
    """What the first order <g, P' - P> leaves of the change is a quarter at half the rate."""
    axis, rests = scale_free_axis_of(ORACLES[name][0]), []
    for rate in (2e-4, 1e-4):
        variable, _, loss, gradient, train = begin(name, optimizer, unit(GENERATOR, axis), rate)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            before, p, g = session.run([loss, variable, gradient])
            session.run(train)
            after, moved = session.run([loss, variable])
        first_order = -rate * np.sum(g * g) if optimizer == "sgdg" else np.sum(g * (moved - p))
        assert first_order < 0 and abs(after - before - first_order) < 0.1 * abs(first_order)
        rests.append(after - before - first_order)
    np.testing.assert_allclose(rests[0] / rests[1], 4.0, rtol=0.05)


@each_optimizer
@each_map
def test_lengths_stay_one_over_a_thousand_steps_in_float32(name, optimizer):
    axis = scale_free_axis_of(ORACLES[name][0])
    variable, _, _, gradient, _ = begin(name, optimizer, unit(GENERATOR, axis), 0.05, "float32")
    step = tf.get_variable("step", initializer=0)
    noise = tf.random.stateless_normal(variable.shape, [0, step])
    train = MAKE[optimizer](0.05, axis).apply_gradients([(gradient + 3.0 * noise, variable)], global_step=step)
    worst = 0.0
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        one_step = session.make_callable([train, variable])
        start = session.run(variable)
        for _ in range(1000):
            _, value = one_step()
            worst = max(worst, np.abs(np.linalg.norm(value.astype(float), axis=axis) - 1).max())
        assert worst < 1e-6 and np.linalg.norm(session.run(variable) - start) > 0.1


@pytest.mark.parametrize("axis", [-2, -1])
def test_a_start_is_the_directions_of_standard_normals(axis):
    value = initializers.unit_normal(axis)([6, 6], tf.float64, (0, 1))
    raw = initializers.normal(1.0)([6, 6], tf.float64, (0, 1))
    with tf.Session() as session:
        found, normals = session.run([value, raw])
    np.testing.assert_allclose(found, unit(normals, axis), rtol=1e-12)


def test_a_variable_whose_slots_are_cleared_begins_anew_beside_one_that_goes_on():
    """With two powers for all, as Adam-G's checkpoints have them, the second of its steps would be too long."""
    start, gradients = unit(GENERATOR, -1), np.random.default_rng(1).normal(size=(5, SIZE, SIZE))
    cleared, other = [tf.get_variable(name, initializer=start) for name in ("cleared", "other")]
    optimizer, fed = AdamG(0.05, axis=-1, counting=True), tf.placeholder(tf.float64, start.shape)
    train = optimizer.apply_gradients([(fed, cleared), (fed, other)])
    slots = [optimizer.get_slot(cleared, name) for name in optimizer.get_slot_names()]
    assert [slot.shape.as_list() for slot in slots] == [[SIZE, SIZE], [], [SIZE, 1]]
    clear = tf.group(cleared.assign(start), *[slot.assign(tf.zeros_like(slot)) for slot in slots])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for gradient in gradients[:2]:
            session.run(train, {fed: gradient})
        session.run(clear)
        for gradient in gradients[2:]:
            session.run(train, {fed: gradient})
        found = session.run([cleared, other])
    for value, own in zip(found, (gradients[2:], gradients)):
        y, m, v = start.T, np.zeros_like(start), np.zeros([1, SIZE])
        for t, gradient in enumerate(own, start=1):
            y, m, v = riemannian_steps.adam_g(y, gradient.T, m, v, t, 0.05)
        np.testing.assert_allclose(value, y.T, rtol=0, atol=1e-10)
