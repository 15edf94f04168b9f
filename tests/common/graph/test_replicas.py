"""Collectives between virtual CPU devices."""

import os

import numpy as np
import pytest

from common.cli import devices
from common.compat import tf
from common.graph.replicas import ALONE, Replica


def run(build, count=2):
    """Builds `build(replica)` on each of `count` devices and returns what all of them give."""
    chosen = devices.choose("cpu", count)
    results = []
    for index, name in enumerate(chosen.names):
        with tf.device(name):
            results.append(build(Replica(index, count)))
    with chosen.session() as session:
        return session.run(results)


def test_share_is_a_slice_of_the_batch():
    assert [Replica(index, 4).share(12) for index in range(4)] == [(0, 3), (3, 3), (6, 3), (9, 3)]
    with pytest.raises(ValueError, match="batch of 10 cannot be split evenly over 4 devices"):
        Replica(0, 4).share(10)


def test_shares_follow_from_the_number_among_all_names_from_that_in_the_process():
    replicas = [Replica(index, 6, range(4, 6)) for index in (4, 5)]
    assert [(replica.index, replica.local) for replica in replicas] == [(4, 0), (5, 1)]
    assert [replica.share(12) for replica in replicas] == [(8, 2), (10, 2)]
    assert [Replica(index, 3).local for index in range(3)] == [0, 1, 2]


def test_mean_is_the_same_everywhere():
    for value in run(lambda replica: replica.mean(tf.constant([1.0, 10.0]) * (replica.index + 1))):
        np.testing.assert_allclose(value, [1.5, 15.0])


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted by Linux")
def test_steps_leave_no_threads_behind():
    """A collective with a timeout leaves one that sleeps until then: after some hundred steps they were too many."""

    def build(replica):
        first = replica.mean(tf.ones([100]))
        return replica.mean_of_all([first, tf.ones([7])])[0]

    chosen = devices.choose("cpu", 2)
    results = []
    for index, name in enumerate(chosen.names):
        with tf.device(name):
            results.append(build(Replica(index, 2)))
    with chosen.session() as session:
        session.run(results)
        before = len(os.listdir("/proc/self/task"))
        for _ in range(100):
            session.run(results)
        assert len(os.listdir("/proc/self/task")) < before + 20


def test_averaged_gradients_are_those_of_the_mean_loss():
    # L = 1/2 (w x_0 m + w x_1 m) with m = mean of w x_r: the gradient passes through the mean.
    inputs, weight = np.array([2.0, 5.0]), 3.0

    def build(replica):
        w = tf.constant(weight, tf.float64)
        x = w * inputs[replica.index]
        (gradient,) = tf.gradients(x * replica.mean(x), [w])
        return replica.mean_of_all([gradient])[0]

    expected = 2 * weight * inputs.mean() ** 2  # L = w^2 mean(x)^2
    np.testing.assert_allclose(run(build), [expected, expected], rtol=1e-12)


def test_mean_of_all_keeps_shapes():
    def build(replica):
        return replica.mean_of_all([tf.fill([2, 3], float(replica.index)), tf.constant(4.0)])

    for matrix, scalar in run(build):
        np.testing.assert_array_equal(matrix, np.full([2, 3], 0.5))
        assert scalar == 4.0


def test_alone_changes_nothing():
    tensor = tf.ones([3])
    assert ALONE.mean(tensor) is tensor
    assert ALONE.mean_of_all([tensor]) == [tensor]
    assert ALONE.share(7) == (0, 7)
