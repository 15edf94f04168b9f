"""What replicas exchange in a step, counted by hand, and what they make of it, against NumPy."""

import numpy as np
import pytest

from common.cli import devices
from common.compat import tf
from common.data import synthetic
from common.graph import initializers, variables
from common.graph.replicas import Replica
from common.graph.variables import Role
from common.nn import kernels
from common.nn.kernels import Layer, Plan
from common.nn.layers import BatchNormConstants, Mode, batch_norm
from common.training import problem
from common.training.gradients import mean_gradients
from common.training.step import make_train_op
from opt_gs.train import method
from sopt_gs.train import method as stochastic

METHOD = method()
STOCHASTIC = stochastic()


def collectives(program, towers=2, **options):
    """Returns the collectives of each replica of the paper's CNN-6 with 64 filters, in the order of their keys."""
    dataset = synthetic.load(train=16, test=8, classes=100)
    settings = program.settings_class(data="synthetic", widths=(64, 64, 64, 64), batch_size=8, **options)
    chosen = devices.choose("cpu", towers)
    problem.build(program.problem(settings, dataset), chosen.names)
    found = [op for op in tf.get_default_graph().get_operations() if op.type == "CollectiveReduceV2"]
    found.sort(key=lambda op: int(tf.get_static_value(op.inputs[3])))
    return [[op for op in found if op.device.upper().endswith(f"CPU:{tower}")] for tower in range(towers)]


def floats(op):
    return op.inputs[0].shape.num_elements()


# Scales and shifts of six batch normalizations, the classes' weights; loss, and the loss, fit and error reported.
ELSE = 6 * 2 * 64 + 64 * 100 + 4


def test_floats_exchanged_by_cnn6_and_their_order():
    """27 <= 64, so the first layer's generator; five kernels of 576 x 64 and one of 1024 x 64, not n x n numbers.

    In batch normalization two numbers a channel, forward and backward: one collective each.
    """
    of_replicas = collectives(METHOD)
    for ops in of_replicas:
        assert [floats(op) for op in ops] == 12 * [2 * 64] + [27 * 27 + 5 * 576 * 64 + 1024 * 64 + ELSE]
        for before, op in zip(ops, ops[1:]):
            inputs = [op, *(tensor.op for tensor in op.inputs)]  # of a constant among them, too
            assert any(before in each.control_inputs for each in inputs), "replicas run them in the order of their keys"
    keys = [[int(tf.get_static_value(op.inputs[3])) for op in ops] for ops in of_replicas]
    assert keys[0] == keys[1] == list(range(1, 14))


@pytest.mark.slow
@pytest.mark.parametrize("program, options, of_kernels", [
    (STOCHASTIC, {}, 27 * 27 + 5 * 144 * 64 + 256 * 64),  # p x m of the rotated rows, p being 9 * 16 and 16 * 16
    (METHOD, {"rotation": "none"}, 64 * (27 + 5 * 576 + 1024)),
])  # fmt: skip
def test_floats_exchanged_of_rotated_rows_and_of_ordinary_kernels(program, options, of_kernels):
    """Each replica has its own batch statistics, and averages to exchange."""
    ops, _ = collectives(program, sync_bn=False, **options)
    assert [floats(op) for op in ops] == [of_kernels + ELSE + 6 * 2 * 64]


def on_replicas(build, count=2):
    """Returns what `build(replica)` gives on each replica, in its scope, evaluated once all of it is built."""
    chosen, results = devices.choose("cpu", count), []
    for index, name in enumerate(chosen.names):
        with tf.device(name), variables.replica_scope(index):
            results.append(build(Replica(index, count)))
    session = chosen.session()
    session.run(tf.global_variables_initializer())
    return session, results


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_are_means_of_those_of_the_replicas(scale):
    """Y = P^2 W; fit_r = <C_r, Y> + <b_r, bias>, penalty c/2 |P|^2: dP = P^T G + G P^T + c P with G = mean(C) W^T."""
    rng = np.random.default_rng(0)
    upstream, bias = rng.normal(size=[2, 18, 2]), rng.normal(size=[2, 5])

    def build(replica):
        factory = kernels.rotated(lambda generator, weights: generator @ (generator @ weights))
        found = kernels.build(Plan((Layer("layer", (3, 3, 2, 2)),), ("layer",)), lambda layer: factory, tf.float64)
        kernel = found["layer"].tensor
        with tf.variable_scope("layer"):
            shift = variables.create("bias", [5], Role.BIAS, initializers.zeros, tf.float64)
            unused = variables.create("unused", [5], Role.BIAS, initializers.zeros, tf.float64)
        (generator,) = variables.with_role(Role.GENERATOR, replica=replica.index)
        fit = tf.reduce_sum(tf.reshape(kernel, [18, 2]) * upstream[replica.index])
        fit += tf.reduce_sum(shift * bias[replica.index])
        penalty = 0.3 * tf.nn.l2_loss(generator)
        figure = tf.constant(float(replica.index), tf.float64)
        gradients, (mean,) = mean_gradients(fit, penalty, [shift, generator, unused], [figure], found, replica, scale)
        assert gradients[2] is None
        fixed = variables.with_role(Role.FIXED, replica=replica.index)[0]
        return *gradients[:2], mean, generator.read_value(), fixed.read_value()

    session, results = on_replicas(build)
    with session:
        for of_bias, of_generator, mean, p, w in session.run(results):
            g = upstream.mean(axis=0) @ w.T
            np.testing.assert_allclose(of_bias, bias.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(of_generator, p.T @ g + g @ p.T + 0.3 * p, rtol=1e-10)
            assert mean == 0.5


def normalised(values):
    """One step of two replicas with batch normalization of their own, each over its half of `values`.

    Returns the session and, of each replica, its outputs, train op, what was finite, and averages with the step.
    """
    size = len(values) // 2

    def build(replica):
        step = variables.global_step()
        constants = BatchNormConstants(decay=0.875, epsilon=1e-3, corrected=False)
        mode = Mode(True, constants, step=step.read_value(), replica=replica, sync_bn=False)
        outputs = batch_norm(tf.constant(values[replica.index * size :][:size]), mode)
        trained = variables.trainable(replica.index)
        loss = sum(tf.reduce_sum(variable) for variable in trained)  # finite whatever the outputs are
        groups = [(tf.train.GradientDescentOptimizer(0.1), trained)]
        train_op, _, health = make_train_op(loss, groups, step, replica)
        return outputs, train_op, health.finite, variables.with_role(Role.MOVING, Role.STEP, replica=replica.index)

    return on_replicas(build)


def test_without_sync_each_replica_has_its_own_statistics_and_all_have_the_mean_averages():
    values = np.random.default_rng(1).normal(3.0, 2.0, [8, 4])
    session, results = normalised(values)
    halves = values.reshape(2, 4, 4)
    with session:
        outputs = session.run([outputs for outputs, *_ in results])
        session.run([train_op for _, train_op, *_ in results])
        states = session.run([state for *_, state in results])
    for output, half in zip(outputs, halves):
        np.testing.assert_allclose(output, (half - half.mean(0)) / np.sqrt(half.var(0) + 1e-3), rtol=1e-9)
    for mean, variance, step in map(sorted_by_size, states):
        np.testing.assert_allclose(mean, 0.125 * halves.mean(axis=1).mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(variance, 0.875 + 0.125 * halves.var(axis=1).mean(axis=0), rtol=1e-10)
        assert step == 1
    for first, second in zip(*states):
        np.testing.assert_array_equal(first, second)


def test_without_sync_all_replicas_drop_a_step_of_which_one_has_bad_averages():
    values = np.random.default_rng(1).normal(3.0, 2.0, [8, 4])
    values[5, 2] = np.nan  # in the second replica's half; the loss and its gradients are finite
    session, results = normalised(values)
    with session:
        finite, _ = zip(*session.run([(finite, train_op) for _, train_op, finite, _ in results]))
        states = session.run([state for *_, state in results])
    np.testing.assert_array_equal(finite[0], finite[1])
    assert finite[0].tolist().count(False) == 2
    for mean, variance, step in map(sorted_by_size, states):
        np.testing.assert_array_equal([mean, variance], [np.zeros(4), np.ones(4)])
        assert step == 0


def sorted_by_size(state):
    """The averages, then the step."""
    return sorted(state, key=np.size, reverse=True)
