"""Layers of low precision and the loss scale, against float64 NumPy."""

import os

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, linalg, precision, variables
from common.graph.replicas import Replica
from common.graph.variables import Role
from common.nn import kernels, layers
from common.nn.layers import BatchNormConstants, Mode

TOLERANCE = {"bfloat16": 2e-2, "float16": 3e-3}
LOW = pytest.mark.parametrize("name", TOLERANCE)
RNG = np.random.default_rng(0)
IMAGES, TARGETS = RNG.normal(size=[6, 5, 5, 3]), RNG.normal(size=[6, 2])


def plain(layer):
    return kernels.plain()(layer.shape)


def conv_and_dense(name):
    """A VALID 3x3 conv, a mean over positions and a dense layer with bias; half the mean squared error of them."""
    images = precision.lowered(tf.constant(IMAGES, tf.float32), name)
    features = layers.conv2d(images, 4, 3, plain, padding="VALID")
    outputs = layers.dense(tf.reduce_mean(features, [1, 2]), 2, lambda layer: kernels.plain(name="matrix")(layer.shape))
    assert features.dtype == outputs.dtype == tf.as_dtype(name)
    return tf.reduce_mean(tf.square(tf.cast(outputs, tf.float32) - TARGETS.astype("f"))) / 2


def gradients_of_numpy(kernel, matrix, bias):
    """The gradients of the same, by hand: mean over positions first, for both layers are linear."""
    patches = np.stack([IMAGES[:, i : i + 3, j : j + 3] for i in range(3) for j in range(3)], 1).mean(1).reshape(6, 27)
    features = patches @ kernel.reshape(27, 4)
    upstream = (features @ matrix + bias - TARGETS) / TARGETS.size
    return (patches.T @ (upstream @ matrix.T)).reshape(kernel.shape), features.T @ upstream, upstream.sum(0)


def distance(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@LOW
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_of_low_precision_are_those_of_float64_to_its_accuracy(name, scale):
    loss = conv_and_dense(name)
    trained = variables.trainable()
    gradients = precision.gradients(loss, trained, scale)
    assert {tensor.dtype.base_dtype for tensor in [*trained, *gradients]} == {tf.float32}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values, actual = session.run([trained, gradients])
    for gradient, expected in zip(actual, gradients_of_numpy(*[value.astype(float) for value in values])):
        assert distance(gradient, expected) < TOLERANCE[name]


def test_a_power_of_two_scales_without_rounding():
    loss = conv_and_dense("float32")
    plain, scaled = [precision.gradients(loss, variables.trainable(), scale) for scale in (1.0, 1024.0)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for expected, actual in zip(*session.run([plain, scaled])):
            np.testing.assert_array_equal(actual, expected)


def test_the_loss_scale_keeps_float16_gradients_from_vanishing():
    """1e-8 is 0 in float16, 1024 times that is not."""
    outputs = layers.conv2d(tf.ones([1, 4, 4, 2], tf.float16), 3, 1, plain)
    loss = 1e-8 * tf.reduce_sum(tf.cast(outputs, tf.float32))
    assert precision.loss_scale_of("float16") == 1024.0
    assert precision.loss_scale_of("float32") == precision.loss_scale_of("bfloat16") == 1.0
    lost, kept = [precision.gradients(loss, variables.trainable(), scale)[0] for scale in (1.0, 1024.0)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        lost, kept = session.run([lost, kept])
    assert not lost.any()
    np.testing.assert_allclose(kept, np.full([1, 1, 2, 3], 16e-8), rtol=1e-2)


def test_a_gradient_that_is_not_there_stays_none():
    idle = variables.create("idle", [2], Role.WEIGHT, initializers.zeros)
    assert precision.gradients(conv_and_dense("float16"), [idle], 1024.0) == [None]


@LOW
@pytest.mark.parametrize("shape", [(64, 5, 4, 3), (700, 3)])
@pytest.mark.parametrize("count", [1, 2], ids=["fused", "moments"])
def test_statistics_of_batch_norm_are_float32(name, shape, count, monkeypatch):
    """What is averaged is the mean of what came in, to the accuracy of float32, not of its own type."""
    monkeypatch.setattr(Replica, "mean", lambda self, tensor: tensor)  # the second replica has the same batch
    inputs = tf.cast(tf.constant(RNG.normal(2.0, 3.0, shape), tf.float32), name)
    mode = Mode(True, BatchNormConstants(0.99, 1e-5, True), None, tf.constant(0, tf.int64), Replica(0, count))
    outputs = layers.batch_norm(inputs, mode)
    assert outputs.dtype == inputs.dtype
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        actual, values = session.run([tf.cast(outputs, tf.float64), tf.cast(inputs, tf.float64)])
        session.run([change.write() for change in variables.changes(0)])
        mean, variance = session.run(variables.with_role(Role.MOVING))
    axes = tuple(range(len(shape) - 1))
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(mean, values.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(variance, values.var(axes), rtol=1e-5)
    expected = (values - values.mean(axes)) / np.sqrt(values.var(axes) + 1e-5)
    np.testing.assert_allclose(actual, expected, atol=4 * TOLERANCE[name])


@LOW
def test_dropout_has_the_mask_of_float32(name):
    mode = Mode(True, None, 0.7, tf.constant(3, tf.int64))
    masks = [tf.not_equal(layers.dropout(tf.ones([40, 50], dtype), mode), 0) for dtype in (tf.float32, name)]
    with tf.Session() as session:
        np.testing.assert_array_equal(*session.run(masks))


@pytest.mark.parametrize("fast", [True, False])
def test_products_of_maps_are_exact_where_the_network_has_tensor_float_32(monkeypatch, fast):
    """In float64, or in halves of 11 bits, none of which TensorFloat-32 rounds by more than 2^-11 of the low one."""
    monkeypatch.setattr(linalg, "on_gpu", lambda: True)
    monkeypatch.setattr(linalg, "fast_in_float64", lambda: fast)
    first, second = RNG.normal(size=[2, 30, 40]).astype("f"), RNG.normal(size=[2, 30, 50]).astype("f")
    precision.switch("tf32")
    try:
        product = linalg.matmul(tf.constant(first), tf.constant(second), transpose_a=True)
        high, low = linalg._halves(tf.constant(first))
    finally:
        precision.switch("float32")
    types = [op.inputs[0].dtype for op in tf.get_default_graph().get_operations() if op.type == "BatchMatMulV2"]
    assert types == ([tf.float64] if fast else [tf.float32] * 3)
    with tf.Session() as session:
        product, high, low = session.run([product, high, low])
    np.testing.assert_allclose(product, np.swapaxes(first, 1, 2).astype("d") @ second.astype("d"), atol=2e-5)
    np.testing.assert_array_equal(high + low, first)
    assert not (high.view(np.int32) & 0x1FFF).any(), "TensorFloat-32 keeps all bits of it"


def test_products_are_plain_elsewhere():
    linalg.matmul(tf.zeros([3, 4]), tf.zeros([4, 5]))
    assert [op.type for op in tf.get_default_graph().get_operations() if "Mul" in op.type] == ["MatMul"]


@pytest.mark.parametrize(
    "capabilities, name",
    [
        ([], "float32"),
        ([(9, 0)], "tf32"),
        ([(8, 0), (8, 6)], "tf32"),
        ([(8, 0), (7, 5)], "float32"),
        ([None], "float32"),
    ],
)
def test_auto_is_tf32_where_all_gpus_have_it(monkeypatch, capabilities, name):
    found = iter([{} if one is None else {"compute_capability": one} for one in capabilities])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"] * len(capabilities))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: next(found))
    assert precision.chosen("auto") == name
    assert precision.chosen("bfloat16") == "bfloat16"


def test_xla_flags_of_a_user_stay(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    precision.prepare_xla()
    assert os.environ["XLA_FLAGS"] == "--xla_gpu_graph_min_graph_size=1"
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    precision.prepare_xla()
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=x"


@pytest.mark.parametrize("keepdims", [False, True])
def test_the_euclidean_norm_is_one_number_in_a_function_and_out_of_it(keepdims):
    norms = linalg.euclidean_norm(tf.constant(IMAGES), [1, 2], keepdims)
    compiled = precision.as_one(lambda: linalg.euclidean_norm(tf.constant(IMAGES), [1, 2], keepdims), True)
    with tf.Session() as session:
        for actual in session.run([norms, compiled]):
            np.testing.assert_allclose(actual, np.sqrt(np.square(IMAGES).sum((1, 2), keepdims=keepdims)), rtol=1e-12)
