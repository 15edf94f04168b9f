"""Maps that one replica computes for all: who owns which, what is computed and exchanged, and what all decide alike."""

import collections
import dataclasses
import types

import numpy as np
import pytest

from common import devices, exchange, kernels, variables
from common.cluster import ALONE, Cluster
from common.compat import tf
from common.data import synthetic
from common.replicas import Replica
from common.training import problem, sharding
from common.training.alignment import Gather
from common.training.evaluate import Evaluation
from common.training.peers import Peers
from common.training.train_op import make_train_op
from common.variables import Role
from opt_gs.train import METHOD
from opt_or.train import METHOD as OPT_OR
from tests.common.training.test_exchange import ELSE, collectives, floats, on_replicas
from tests.towers import spoil


@pytest.mark.parametrize(
    "costs, count, expected",
    [
        ([], 2, []),
        ([1], 3, [0]),
        ([1, 5, 5, 5, 5, 5, 27], 2, [1, 1, 1, 1, 1, 1, 0]),  # CNN-6: its last layer against all others
        ([4, 4, 4, 4], 4, [0, 1, 2, 3]),
        ([3, 3, 2, 2, 2], 2, [0, 1, 0, 1, 0]),
    ],
)
def test_the_dearest_first_each_to_whom_has_least(costs, count, expected):
    assert sharding.owners(costs, count) == expected


def test_owners_are_as_even_as_a_greedy_choice_is():
    """No load is above the mean by more than one layer's cost."""
    rng = np.random.default_rng(0)
    for count in (2, 3, 8):
        costs = rng.integers(1, 100, 20).tolist()
        loads = np.bincount(sharding.owners(costs, count), costs, count)
        assert loads.sum() == sum(costs) and loads.max() <= sum(costs) / count + max(costs)


def test_every_map_is_called_once_and_its_result_sent_in_one_collective():
    """Two collectives more than without: the results, 27 + 5 * 576 + 1024 rows of 64, ahead of all; the verdicts.

    The first layer's gradient is exchanged at its result too, 27 x 64 numbers in place of 27 x 27.
    """
    of_replicas = collectives(METHOD, shard_maps=True)
    results = 64 * (27 + 5 * 576 + 1024)
    for ops in of_replicas:
        assert [floats(op) for op in ops] == [*12 * [2 * 64], results + ELSE, 7 + 64, results]
        ahead, first = ops[-1], ops[0]
        assert ahead in first.control_inputs, "whatever comes first in the network waits for the results"
    assert maps_of(2) == [(1, 1), (6, 6)], "fc6 costs more than all others"


def maps_of(towers):
    """Returns (calls of maps, calls of their gradients) in the training step of each tower."""
    calls = collections.Counter()
    for op in tf.get_default_graph().get_operations():
        if "PartitionedCall" in op.type:
            kind = "backward" if "backward" in op.get_attr("f").name else "forward"
            calls[kind, next(tower for tower in range(towers) if op.device.endswith(f"CPU:{tower}"))] += 1
    return [(calls["forward", tower], calls["backward", tower]) for tower in range(towers)]


@pytest.mark.slow
def test_without_the_flag_every_replica_computes_every_map():
    collectives(METHOD)
    assert maps_of(2) == [(7, 7), (7, 7)]
    assert all(variables.owner_of(variable) is None for variable in tf.global_variables())


def network(replica, rotate=lambda generator, weights: generator @ weights, sizes=(18, 9)):
    """Two rotated layers, of matrices, with a loss <C_r, Y> each; returns (kernels, loss) on one replica."""
    turned = []
    with kernels.postponed():
        for number, size in enumerate(sizes):
            with tf.variable_scope(f"layer{number}"):
                turned.append(kernels.rotated(rotate)([size, 2], tf.float64))
    sharding.compute(replica)
    rng = np.random.default_rng(replica.index)
    return turned, sum(tf.reduce_sum(kernel * rng.normal(size=kernel.shape)) for kernel in turned)


def test_results_and_gradients_against_numpy():
    """Layer 0 is replica 0's, layer 1 replica 1's: P <- P - mean(C) W^T / 8 there, and there only."""

    def build(replica):
        turned, loss = network(replica)
        groups = [(tf.train.GradientDescentOptimizer(0.125), variables.trainable(replica.index))]
        train_op, _, health = make_train_op(loss, groups, variables.global_step(), replica)
        assert list(health.gradients) == [variables.trainable(replica.index)[replica.index].op.name]
        state = [variables.with_role(role, replica=replica.index) for role in (Role.GENERATOR, Role.FIXED)]
        return turned, train_op, state

    session, results = on_replicas(build)
    turned, train_ops, states = zip(*results)
    with session:
        start = session.run(states)
        assert spoil(session) == 2
        of_step, _ = session.run([turned, train_ops])
        after = session.run(states)
    draws = [np.random.default_rng(replica) for replica in range(2)]
    upstream = [[draw.normal(size=[size, 2]) for size in (18, 9)] for draw in draws]
    for layer in range(2):
        weights, mean = after[0][1][layer], (upstream[0][layer] + upstream[1][layer]) / 2
        expected = start[layer][0][layer] @ weights
        for replica in range(2):
            np.testing.assert_allclose(of_step[replica][layer], expected, rtol=1e-12)
        stepped = start[layer][0][layer] - 0.125 * mean @ weights.T
        np.testing.assert_allclose(after[layer][0][layer], stepped, rtol=1e-12)
        assert np.isnan(after[1 - layer][0][layer]).all()


def test_all_drop_a_step_whose_gradient_is_bad_on_the_owner_alone():
    """The pull-back of layer 1, on replica 1, gives NaN: loss, results and what is exchanged before are finite."""

    def rotate(generator, weights):
        bad = int(generator.shape[0]) == 9
        passing = tf.custom_gradient(lambda x: (x, lambda upstream: upstream * (np.nan if bad else 1.0)))
        return passing(generator) @ weights

    def build(replica):
        _, loss = network(replica, rotate)
        groups = [(tf.train.MomentumOptimizer(0.1, 0.9), variables.trainable(replica.index))]
        train_op, report, health = make_train_op(loss, groups, variables.global_step(), replica, {"loss": loss})
        return train_op, report, health.finite, health.names

    session, results = on_replicas(build)
    with session:
        before = session.run(tf.global_variables())
        _, reports, finite = session.run([[result[index] for result in results] for index in range(3)])
        after = session.run(tf.global_variables())
    names = results[0][3]
    assert names == results[1][3]
    for of_replica, report in zip(finite, reports):
        assert [name for name, good in zip(names, of_replica) if not good] == ["the gradient of layer1/rotation"]
        assert np.isfinite(report["loss"])
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_the_penalty_reported_is_that_of_the_owners_values():
    """opt_or: 0.1 sum ||PP^T - I|| and L2 of all, against NumPy, though each device knows some generators only."""
    dataset = synthetic.load(train=16, test=8)
    settings = OPT_OR.settings_class(data="synthetic", widths=(4, 4, 4, 4), batch_size=8, shard_maps=True)
    chosen = devices.choose("cpu", 2)
    training = problem.build(OPT_OR.problem(settings, dataset), chosen.names, tf.float64)
    together = Peers(ALONE)
    together.prepare()
    with chosen.session() as session:
        session.run(tf.global_variables_initializer())
        spoil(session)
        for store in training.stores:
            store.fill(session)
        session.run(training.train_op)
        reports = []
        for _ in range(2):
            together.gather(session)
            roles = [variables.with_role(*group) for group in PENALISED]
            generators, others = session.run(roles)
            reports.append(session.run([training.report, training.train_op])[0])
            squares = sum(np.sum(np.square(value)) for value in [*generators, *others])
            norms = sum(np.linalg.norm(p @ p.T - np.eye(len(p))) for p in generators)
            expected = settings.weight_decay / 2 * squares + 0.1 * norms
            assert reports[-1]["loss"] - reports[-1]["fit"] == pytest.approx(expected, rel=1e-9)


PENALISED = (Role.GENERATOR,), (Role.GAMMA, Role.BETA, Role.WEIGHT, Role.BIAS, Role.FIXED)


def test_variables_travel_in_the_order_of_their_names(monkeypatch):
    """Slots are made in another order where another process steps their variables; blocks are nothing but numbers."""
    sent = []
    monkeypatch.setattr(exchange, "_send", lambda block, *_: sent.append([v.op.name for v in block]) or tf.no_op())
    made = [variables.create(name, [2], Role.WEIGHT, variables.zeros) for name in ("b", "a/slot", "a", "c")]
    for members in (made, made[::-1]):
        exchange.spread(members, Cluster(("a:1", "b:1"), 0))
    assert sent == 2 * [["a", "a/slot", "b", "c"]]


def test_generators_are_gathered_where_they_are_read():
    gathered = []
    peers = types.SimpleNamespace(gather=lambda session: gathered.append(session))
    gather = Gather(peers, "session", (4, 6), last=9)
    due = []
    for step in range(10):
        gather.after_step(step, {})
        if gathered:
            due.append(step)
        gathered.clear()
    assert due == [3, 5, 7, 9]
    gather.end(9, interrupted=False)
    assert gathered == []
    gather.end(8, interrupted=True)
    assert gathered == ["session"]


def test_evaluation_computes_all_kernels_together():
    """It fetches those of the first device, which needs what the second one sends."""
    dataset = synthetic.load(train=16, test=8)
    settings = METHOD.settings_class(data="synthetic", rotation="free", widths=(4, 4, 4, 4), batch_size=8)
    figures, geometry = [], []
    chosen = devices.choose("cpu", 2)
    for shard in (False, True):
        task = METHOD.problem(dataclasses.replace(settings, shard_maps=shard), dataset)
        with tf.Graph().as_default():
            training, evaluation = problem.build(task, chosen.names), Evaluation(task)
            with chosen.session() as session:
                session.run(tf.global_variables_initializer())
                for store in [*training.stores, evaluation.store]:
                    store.fill(session)
                figures.append(evaluation.figures(session))
                geometry.append(evaluation.geometry(session))
    assert figures[0] == figures[1] and geometry[0] == geometry[1]


def test_one_replica_alone_shares_nothing():
    dataset = synthetic.load(train=16, test=8)
    settings = METHOD.settings_class(data="synthetic", rotation="free", batch_size=8, shard_maps=True)
    problem.build(METHOD.problem(settings, dataset))
    assert all(variables.owner_of(variable) is None for variable in tf.global_variables())
    assert Replica().steps(variables.trainable()[0])
