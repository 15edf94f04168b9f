"""The modules with the original's names: gutils' formulas and arguments, and one class under every name."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from common.compat import tf
from grassmann import geometry, grassmann_optimizer, gutils, optimizers
from tests.oracles import sphere

FOLDER = pathlib.Path(grassmann_optimizer.__file__).parent


def evaluate(tensors):
    with tf.Session() as session:
        return session.run(tensors)


def sample(shape=(3, 3, 2, 5)):
    """Returns unit neurons y, two tangent kernels at y, and a kernel of any kind."""
    random = np.random.RandomState(0)
    y = sphere.each_neuron(lambda neuron: neuron / np.linalg.norm(neuron), random.randn(*shape))
    tangents = [sphere.project(y, 0.5 * random.randn(*shape)) for _ in range(2)]
    return y, *tangents, random.randn(*shape)


def test_formulas():
    y, d, other, any_kernel = sample()
    t = tf.constant
    norms = np.sqrt(sphere.squared_norms(any_kernel))
    cases = [
        (gutils.norm(t(any_kernel)), norms),
        (gutils.unit(t(any_kernel))[0], any_kernel / (norms + 1e-8)),
        (gutils.unit(t(any_kernel))[1], norms),
        (gutils.unit(t(any_kernel), eps=1.0)[0], any_kernel / (norms + 1.0)),
        (gutils.xTy(t(any_kernel), t(d)), np.sum(any_kernel * d, axis=(0, 1, 2), keepdims=True)),
        (gutils.clip_by_norm(t(any_kernel), 0.1), sphere.clip(any_kernel, 0.1)),
        (gutils.gproj(t(y), t(any_kernel)), sphere.project(y, any_kernel)),
        (gutils.gexp(t(y), t(d)), sphere.exponential(y, d)),
        (gutils.gpt(t(y), t(d)), sphere.transport(y, d, d)),
        (gutils.gpt2(t(y), t(other), t(d)), sphere.transport(y, d, other)),
    ]
    for actual, expected in cases:
        np.testing.assert_allclose(evaluate(actual), expected, rtol=0, atol=1e-12)


def test_normalize_brings_points_to_the_manifold_and_vectors_to_its_tangent_space():
    y, d, other, any_kernel = sample()
    t, away = tf.constant, 0.7 * y
    cases = [
        (gutils.gproj(t(3.0 * y), t(any_kernel), normalize=True), sphere.project(y, any_kernel)),
        (gutils.gexp(t(3.0 * y), t(d + away), normalize=True), sphere.exponential(y, d)),
        (gutils.gpt(t(3.0 * y), t(d + away), True), sphere.transport(y, d, d)),
        (gutils.gpt2(t(3.0 * y), t(other + away), t(d - away), True), sphere.transport(y, d, other)),
    ]
    for actual, expected in cases:
        np.testing.assert_allclose(evaluate(actual), expected, rtol=0, atol=1e-7)  # norms have 1e-8 added


@pytest.mark.parametrize("shape", [[3, 3, 4, 8], tf.TensorShape([7, 4])])
def test_unit_initializer(shape):
    kernel = evaluate(gutils.unit_initializer(seed=1)(shape))
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(sphere.squared_norms(kernel), 1.0, rtol=1e-6)
    assert abs(kernel.mean()) < 0.1 and kernel.min() < 0.0


@pytest.mark.parametrize("use_resource", [True, False])
def test_unit_initializer_in_both_places(use_resource):
    made = tf.get_variable("made", [5, 3], tf.float64, gutils.unit_initializer(), use_resource=use_resource)
    later = tf.get_variable("later", [5, 3], use_resource=use_resource)
    later._initializer_op = tf.assign(later, gutils.unit_initializer()(later.shape)).op
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for kernel in session.run([made, later]):
            np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1.0, rtol=1e-6)


def test_modules_imported_in_the_folder_are_the_same(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    try:
        assert importlib.import_module("gutils").unit_initializer is gutils.unit_initializer
        assert importlib.import_module("grassmann_optimizer").SgdgOptimizer is optimizers.SgdG
    finally:
        for name in ("gutils", "grassmann_optimizer"):
            sys.modules.pop(name, None)
    assert grassmann_optimizer.SgdgOptimizer is optimizers.SgdG
    assert grassmann_optimizer.AdamgOptimizer is optimizers.AdamG
    assert grassmann_optimizer.HybridOptimizer is optimizers.HybridOptimizer


def test_positional_arguments_are_the_originals():
    kernel = tf.get_variable("kernel", initializer=sample()[0])
    for optimizer in (
        grassmann_optimizer.SgdgOptimizer(0.1, 0.9, 0.1, True, "SgdgOptimizer"),
        grassmann_optimizer.AdamgOptimizer(0.1, 0.9, 0.99, 1e-8, 0.1, True, "Adamg"),
    ):
        optimizer.apply_gradients([(tf.ones_like(kernel), kernel)])
        assert optimizer.get_slot_names() == (["momentum"] if optimizer.get_name() == "SgdgOptimizer" else ["m", "v"])
    assert geometry.norm(kernel).shape.as_list() == [1, 1, 1, 5]
