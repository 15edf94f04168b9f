"""Layers against NumPy."""

import numpy as np
import pytest

from common.cli import devices
from common.compat import tf
from common.graph import variables
from common.graph.replicas import Replica
from common.graph.variables import Role
from common.nn import kernels, layers
from common.nn.layers import BatchNormConstants, Mode

PLAIN = BatchNormConstants(decay=0.99, epsilon=1e-5, corrected=False)
CORRECTED = BatchNormConstants(decay=0.999, epsilon=1e-3, corrected=True)


def training(constants=PLAIN, keep_prob=None, replica=Replica()):
    return Mode(True, constants, keep_prob, variables.global_step() + 0, replica)


def plain(layer):
    """An ordinary kernel in float64."""
    return kernels.plain()(layer.shape, tf.float64)


def oracle(values, gamma, beta, epsilon):
    axes = tuple(range(values.ndim - 1))
    mean, variance = values.mean(axes), values.var(axes)
    return gamma * (values - mean) / np.sqrt(variance + epsilon) + beta, mean, variance


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 3), (1, 3)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_batch_norm_normalises_by_the_biased_variance(shape, dtype):
    values = np.random.default_rng(0).normal(2.0, 3.0, shape)
    outputs = layers.batch_norm(tf.constant(values, dtype), training())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        actual = session.run(outputs)
        session.run([change.write() for change in variables.changes()])
        mean, variance = session.run(variables.with_role(Role.MOVING))
    expected, batch_mean, batch_variance = oracle(values, 1.0, 0.0, 1e-5)
    tolerance = 1e-10 if dtype == tf.float64 else 2e-5
    np.testing.assert_allclose(actual, expected, atol=tolerance)
    np.testing.assert_allclose(mean, 0.01 * batch_mean, rtol=1e-4)
    np.testing.assert_allclose(variance, 0.99 + 0.01 * batch_variance, rtol=1e-5)


def test_replicas_far_from_zero_keep_their_variance():
    """Mean 1000, standard deviation 1: the difference of the moments of x and x^2 would lose it in float32."""
    values = np.random.default_rng(5).normal(1000.0, 1.0, [8, 4, 4, 3]).astype(np.float32)
    chosen = devices.choose("cpu", 2)
    parts = []
    for index, name in enumerate(chosen.names):
        with tf.device(name), variables.replica_scope(index):
            parts.append(layers.batch_norm(tf.constant(values[4 * index :][:4]), training(replica=Replica(index, 2))))
    with chosen.session() as session:
        session.run(tf.global_variables_initializer())
        actual = np.concatenate(session.run(parts))
    np.testing.assert_allclose(actual, oracle(values.astype(float), 1.0, 0.0, 1e-5)[0], atol=2e-3)


def test_corrected_averages_are_those_of_the_batches_seen():
    batches = np.random.default_rng(1).normal(5.0, 2.0, [4, 50, 3])
    inputs = tf.placeholder(tf.float64, [50, 3])
    mode = training(CORRECTED)
    layers.batch_norm(inputs, mode)
    step = variables.global_step()
    with tf.control_dependencies([change.write() for change in variables.changes()]):
        update = step.assign_add(1)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for batch in batches:
            session.run(update, {inputs: batch})
        mean, variance = session.run(variables.with_role(Role.MOVING))
    weights = 0.999 ** np.arange(3, -1, -1)
    weights /= weights.sum()
    np.testing.assert_allclose(mean, weights @ batches.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(variance, weights @ batches.var(axis=1), rtol=1e-9)


def test_evaluation_uses_the_stored_statistics():
    values = np.random.default_rng(2).normal(size=[4, 2, 2, 3])
    outputs = layers.batch_norm(tf.constant(values), Mode(False, PLAIN))
    (gamma,), (beta,) = variables.with_role(Role.GAMMA), variables.with_role(Role.BETA)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable, value in zip([gamma, beta, *variables.with_role(Role.MOVING)], (2.0, 3.0, 0.5, 4.0)):
            session.run(variable.initializer, {variable.initializer.inputs[1]: np.full(3, value)})
        actual = session.run(outputs)
    np.testing.assert_allclose(actual, 2 * (values - 0.5) / np.sqrt(4 + 1e-5) + 3, rtol=1e-10)


def test_batch_norm_without_scale_has_no_gamma():
    layers.batch_norm(tf.zeros([2, 3]), training(), scale=False)
    assert variables.with_role(Role.GAMMA) == []
    assert len(variables.with_role(Role.BETA)) == 1


def test_conv2d_matches_a_direct_sum():
    rng = np.random.default_rng(3)
    images = rng.normal(size=[2, 6, 6, 3])
    outputs = layers.conv2d(tf.constant(images), 4, 3, plain, stride=2)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        actual, kernel = session.run([outputs, variables.with_role(Role.WEIGHT)[0]])
    padded = np.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)])  # SAME with stride 2 pads at the end first
    for row in range(3):
        for column in range(3):
            patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            np.testing.assert_allclose(actual[:, row, column], np.einsum("bijc,ijcf->bf", patch, kernel), rtol=1e-9)


def test_dense_with_and_without_bias():
    features = np.random.default_rng(4).normal(size=[5, 3])
    with tf.variable_scope("a"):
        outputs = layers.dense(tf.constant(features), 2, plain)
    with tf.variable_scope("b"):
        layers.dense(tf.constant(features), 2, plain, bias=None)
    assert [variable.op.name for variable in variables.with_role(Role.BIAS)] == ["a/bias"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        actual, weight = session.run([outputs, variables.with_role(Role.WEIGHT)[0]])
    np.testing.assert_allclose(actual, features @ weight, rtol=1e-10)


def test_dropout_keeps_the_expected_share_and_scale():
    outputs = layers.dropout(tf.ones([100, 40]), training(keep_prob=0.7))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run(outputs)
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((values > 0).mean() - 0.7) < 0.03


def test_dropout_is_a_function_of_scope_and_step():
    def mask(scope, step):
        with tf.variable_scope(scope):
            return layers.dropout(tf.ones([50, 4]), Mode(True, PLAIN, 0.5, tf.constant(step, tf.int64)))

    with tf.Session() as session:
        one, again, other_step, other_scope = session.run([mask("a", 1), mask("a", 1), mask("a", 2), mask("b", 1)])
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other_step)
    assert not np.array_equal(one, other_scope)


def test_dropout_of_two_replicas_is_that_of_one_device():
    step = tf.constant(3, tf.int64)
    with tf.variable_scope("a"):
        whole = layers.dropout(tf.ones([6, 4]), Mode(True, PLAIN, 0.5, step))
        parts = [layers.dropout(tf.ones([3, 4]), Mode(True, PLAIN, 0.5, step, Replica(index, 2))) for index in (0, 1)]
    with tf.Session() as session:
        expected, actual = session.run([whole, tf.concat(parts, 0)])
    np.testing.assert_array_equal(actual, expected)


def test_dropout_does_nothing_in_evaluation():
    features = tf.ones([2, 3])
    assert layers.dropout(features, Mode(False, PLAIN, 0.5)) is features
    assert layers.dropout(features, training(keep_prob=None)) is features
