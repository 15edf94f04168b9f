"""SGD-G and Adam-G against float64 NumPy."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, variables
from common.riemannian.optimizers import AdamG, SgdG
from tests.oracles import riemannian_steps, sphere

SHAPES = {"matrix": (7, 4), "conv/kernel": (3, 3, 2, 5), "cube": (2, 3, 4)}
STEPS = 100
KINDS = pytest.mark.parametrize("use_resource", [True, False], ids=["resource", "reference"])


def start(name):
    return np.random.RandomState(len(name)).randn(*SHAPES[name])  # not of norm 1: the first step has to bring it there


def gradient_at(name, step):
    return np.random.RandomState([step, len(name)]).randn(*SHAPES[name]) * (0.0 if step == 3 else 0.3)


def kernels(dtype="float64", use_resource=True):
    return [tf.get_variable(name, initializer=start(name).astype(dtype), use_resource=use_resource) for name in SHAPES]


def train(optimizer, dtype, use_resource):
    """Runs STEPS steps on random gradients; returns {name of each kernel and slot: final value}."""
    trained = kernels(dtype, use_resource)
    fed = [tf.placeholder(dtype, kernel.shape) for kernel in trained]
    update = optimizer.apply_gradients(zip(fed, trained))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for step in range(STEPS):
            session.run(update, {tensor: gradient_at(name, step) for tensor, name in zip(fed, SHAPES)})
        return {variable.op.name: session.run(variable) for variable in tf.global_variables()}


@KINDS
@pytest.mark.parametrize("settings", [(0.2, 0.9, 0.1), (0.05, 0.0, None), (0.02, 0.99, 2.0)])
def test_sgd_g_follows_numpy(settings, use_resource):
    final = train(SgdG(*settings), "float64", use_resource)
    assert len(final) == 2 * len(SHAPES)
    for name in SHAPES:
        y, tau = start(name), np.zeros(SHAPES[name])
        for step in range(STEPS):
            y, tau = riemannian_steps.sgd_g(y, gradient_at(name, step), tau, *settings)
        np.testing.assert_allclose(final[name], y, rtol=0, atol=1e-10)
        np.testing.assert_allclose(final[f"{name}/SgdgOptimizer"], tau, rtol=0, atol=1e-10)


@KINDS
@pytest.mark.parametrize("settings", [(0.05, 0.9, 0.99, 1e-8, 0.1), (0.01, 0.0, 0.999, 1e-3, None)])
def test_adam_g_follows_numpy(settings, use_resource):
    final = train(AdamG(*settings), "float64", use_resource)
    assert len(final) == 3 * len(SHAPES) + 2
    for name, shape in SHAPES.items():
        y, m, v = start(name), np.zeros(shape), np.zeros([1] * (len(shape) - 1) + [shape[-1]])
        for step in range(STEPS):
            y, m, v = riemannian_steps.adam_g(y, gradient_at(name, step), m, v, step + 1, *settings)
        np.testing.assert_allclose(final[name], y, rtol=0, atol=1e-10)
        np.testing.assert_allclose(final[f"{name}/Adamg"], m, rtol=0, atol=1e-10)
        np.testing.assert_allclose(final[f"{name}/Adamg_1"], v, rtol=1e-10)
    np.testing.assert_allclose(final["beta1_power"], settings[1] ** (STEPS + 1), rtol=1e-12)
    np.testing.assert_allclose(final["beta2_power"], settings[2] ** (STEPS + 1), rtol=1e-12)


@pytest.mark.parametrize("optimizer", [SgdG, AdamG])
def test_float32_follows_float64(optimizer):
    final = {}
    for dtype in ("float32", "float64"):
        with tf.Graph().as_default():
            settings = {"momentum": 0.9} if optimizer is SgdG else {}
            final[dtype] = train(optimizer(0.05, grad_clip=0.1, **settings), dtype, use_resource=True)
    for name, value in final["float64"].items():
        assert final["float32"][name].dtype == np.float32
        np.testing.assert_allclose(final["float32"][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: SgdG(0.2, 0.9, 0.1), lambda: AdamG(0.05)])
def test_norms_stay_one_over_a_thousand_steps(make):
    kernel = tf.get_variable("kernel", initializer=start("conv/kernel").astype("float32"))
    target = np.random.RandomState(5).randn(*SHAPES["conv/kernel"]).astype("float32")
    step = tf.get_variable("step", initializer=0)
    draw = tf.random.stateless_normal(kernel.shape, [0, step])
    update = make().apply_gradients([(target + 3.0 * draw, kernel)], global_step=step)
    worst = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        run = session.make_callable(update)
        for _ in range(1000):
            run()
            value = session.run(kernel).astype("float64")
            worst.append(np.abs(np.sqrt(sphere.squared_norms(value)) - 1.0).max())
    assert max(worst) < 1e-6


def test_kernel_that_gets_no_gradient_stays_where_it_is():
    """Zero gradients, and a zero kernel, which nothing can turn into a direction, give no NaN."""
    with_norm = tf.get_variable("with_norm", initializer=np.eye(4, 3))
    zero = tf.get_variable("zero", initializer=np.zeros((4, 3)))
    for optimizer in (SgdG(0.2, 0.9, 0.1), AdamG(0.05, grad_clip=0.1)):
        update = optimizer.apply_gradients([(tf.zeros([4, 3], tf.float64), kernel) for kernel in (with_norm, zero)])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(update)
            np.testing.assert_allclose(session.run(with_norm), np.eye(4, 3), rtol=0, atol=2e-8)
            np.testing.assert_array_equal(session.run(zero), np.zeros((4, 3)))


@KINDS
def test_slots_have_the_names_and_shapes_of_the_checkpoints(use_resource):
    conv, matrix = kernels("float32", use_resource)[1::-1]
    gradients = [(tf.ones_like(kernel), kernel) for kernel in (conv, matrix)]
    sgd_g, adam_g = SgdG(0.1, 0.9), AdamG(0.1)
    with tf.name_scope("anywhere"):  # names must not depend on where the training step is built
        sgd_g.apply_gradients(gradients)
        adam_g.apply_gradients(gradients)
    found = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
    for name in ("conv/kernel", "matrix"):
        shape = list(SHAPES[name])
        assert found[f"{name}/SgdgOptimizer"] == found[f"{name}/Adamg"] == shape
        assert found[f"{name}/Adamg_1"] == [1] * (len(shape) - 1) + shape[-1:]
    assert found["beta1_power"] == found["beta2_power"] == []
    assert sgd_g.get_slot(conv, "tau").op.name == "conv/kernel/SgdgOptimizer"
    assert adam_g.get_slot(conv, "v").op.name == "conv/kernel/Adamg_1"
    assert {variable.op.name for variable in adam_g.variables()} >= {"beta1_power", "beta2_power", "matrix/Adamg"}
    assert {variable.op.type == "VarHandleOp" for variable in tf.global_variables()} == {use_resource}


def test_each_replica_has_its_own_powers_and_the_first_has_the_bare_names():
    for replica in range(3):
        with variables.replica_scope(replica):
            kernel = variables.create("kernel", [4, 3], variables.Role.UNIT_KERNEL, initializers.unit_neurons)
        AdamG(0.1).apply_gradients([(tf.ones_like(kernel), kernel)])
        expected = {"kernel", "kernel/Adamg", "kernel/Adamg_1", "beta1_power", "beta2_power"}
        saved = [variable.op.name for variable in variables.saved(replica)]
        assert {variables.bare_name(name) for name in saved} == expected
        assert len(saved) == len(expected)
        assert all(name.startswith("replica_") == (replica > 0) for name in saved)


def test_settings_may_be_tensors_or_functions():
    rate = tf.placeholder_with_default(tf.constant(0.2, tf.float32), [])  # also of another type than the kernel
    as_numbers = SgdG(0.2, 0.9, 0.1)
    as_tensors = SgdG(rate, lambda: 0.9, lambda: tf.constant(0.1, tf.float64))
    results = []
    for optimizer in (as_numbers, as_tensors):
        with tf.variable_scope(None, "run"):
            kernel = tf.get_variable("kernel", initializer=start("matrix"))
        update = optimizer.apply_gradients([(tf.constant(gradient_at("matrix", 0)), kernel)])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(update)
            results.append(session.run(kernel))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


@pytest.mark.parametrize("make", [lambda clip: SgdG(0.1, 0.9, clip), lambda clip: AdamG(0.1, grad_clip=clip)])
@pytest.mark.parametrize("clip", [0.0, -1])
def test_a_clip_that_stops_all_movement_is_refused(make, clip):
    with pytest.raises(ValueError, match=f"grad_clip is {clip}; it must be a norm > 0"):
        make(clip)


@pytest.mark.parametrize("optimizer", [SgdG(0.1, 0.9), AdamG(0.1)])
def test_a_bias_does_not_belong_on_the_manifold(optimizer):
    bias = tf.get_variable("bias", initializer=np.zeros(3))
    with pytest.raises(ValueError, match=r"was given bias of shape \(3,\)"):
        optimizer.apply_gradients([(tf.ones_like(bias), bias)])
