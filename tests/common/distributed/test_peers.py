"""Stopping together, and what is said when another process is gone."""

import signal
import types

import numpy as np
import pytest

from common.compat import tf
from common.distributed import collectives, peers
from common.distributed.cluster import ALONE, Cluster
from common.graph import variables
from common.graph.replicas import Replica
from common.graph.variables import Role
from common.training.agreement import Agreement
from common.training.cluster_callbacks import Alignment
from common.training.signals import Interruption
from tests.common.distributed.workers import free_addresses

LOST = tf.errors.UnavailableError(None, None, "Collective ops is aborted")


def test_a_signal_is_a_wish_and_what_all_know_after_a_step_an_agreement():
    interruption, training = Interruption(), types.SimpleNamespace(wish="wish", stop="stop")
    agreement = Agreement(interruption, training)
    assert agreement.wishes() == {"wish": 0.0} and agreement.fetches(0) == "stop" and not agreement.asked()
    interruption.signal = signal.SIGINT
    assert agreement.wishes() == {"wish": 1.0} and agreement.asked() and not agreement.stopping()
    agreement.after_step(0, 0.0)
    assert not agreement.stopping()
    agreement.after_step(1, 0.25)  # the mean over four replicas, one of which wishes
    assert agreement.stopping() and agreement.signal == signal.SIGINT


def test_a_signal_elsewhere_is_a_sigterm():
    agreement = Agreement(Interruption(), None)
    assert agreement.signal is None
    agreement.agree()
    assert agreement.stopping() and agreement.signal == signal.SIGTERM


def test_the_lost_worker_is_named_and_what_was_saved_is_said():
    cluster = Cluster(tuple(free_addresses(2)), 0)
    with pytest.raises(peers.PeerLost) as caught, peers.Peers(cluster).watched(lambda fault: f"told '{fault}'"):
        raise LOST
    fault = f"{cluster.name(1)} has ended: nothing listens at its address"
    assert str(caught.value) == f"{fault}; told '{fault}'"


def test_a_rescue_that_fails_does_not_hide_the_fault():
    def rescue(fault):
        raise OSError("the disk is full")

    cluster = Cluster(tuple(free_addresses(2)), 1)
    with pytest.raises(peers.PeerLost, match=r"^worker 0 .* has ended.*; nothing could be saved .the disk is full.$"):
        with peers.Peers(cluster).watched(rescue):
            raise LOST


def test_if_all_answer_the_error_itself_is_told(monkeypatch):
    monkeypatch.setattr(peers, "_PAUSE", 0.0)
    monkeypatch.setattr(peers.probe, "look_at", lambda addresses: dict.fromkeys(addresses, peers.probe.ANSWERS))
    with pytest.raises(peers.PeerLost, match="all of them answer: Collective ops is aborted"):
        with peers.Peers(Cluster(tuple(free_addresses(2)), 0)).watched():
            raise LOST


def test_other_errors_and_a_process_on_its_own_are_left_alone():
    with pytest.raises(tf.errors.UnavailableError), peers.Peers(ALONE).watched():
        raise LOST
    with pytest.raises(ValueError, match="mine"), peers.Peers(Cluster(tuple(free_addresses(2)), 0)).watched():
        raise ValueError("mine")


def test_a_process_on_its_own_decides_itself_whether_it_may_begin():
    assert peers.Peers(ALONE).begin(None, True) and not peers.Peers(ALONE).begin(None, False)


def test_copies_get_the_values_of_replica_0_before_each_checkpoint():
    """Copies that have drifted apart, as devices that round otherwise let them."""
    start = np.arange(3, dtype=np.float32)
    for replica in range(3):
        with variables.replica_scope(replica), tf.variable_scope("layer"):
            variables.create("rotation", [3], Role.GENERATOR, lambda *_, r=replica: tf.constant(start + 0.1 * r))
    own, *copies = tf.global_variables()
    together = peers.Peers(ALONE)
    together.prepare()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        alignment = Alignment(together, session, frequency=3, last=7)
        for step in range(8):
            before = session.run(own.assign_add([1.0, 1.0, 1.0]))
            assert not np.array_equal(session.run(copies[0]), before)
            alignment.after_step(step, {})
            equal = [np.array_equal(value, before) for value in session.run(copies)]
            assert equal == 2 * [step in (2, 5, 7)]
            np.testing.assert_array_equal(session.run(own), before)


def test_a_worker_that_is_stopped_is_at_fault_before_those_that_have_given_up(monkeypatch):
    """One that waited longer ends before the others have looked."""
    cluster = Cluster(tuple(free_addresses(3)), 0)
    monkeypatch.setattr(peers, "_LINGER", 0.0)
    monkeypatch.setattr(peers.probe, "look_at", lambda addresses: {1: peers.probe.FROZEN, 2: peers.probe.GONE})
    with pytest.raises(peers.PeerLost) as caught, peers.Peers(cluster).watched():
        raise LOST
    assert str(caught.value) == f"{cluster.name(1)} does not answer: it is stopped, or hangs"


def test_no_collective_has_a_timeout_of_its_own():
    """Each that has would start threads that sleep until then; the session's timeout holds for all."""
    cluster = Cluster(tuple(free_addresses(2)), 0, timeout=0.0001)
    variable = tf.get_variable("number", initializer=1.0)
    collectives.summed(tf.zeros([3]), cluster, collectives.Kind.EVALUATION)
    collectives.spread([variable], cluster)
    collectives.spread([variable], cluster, source=1)
    Replica(0, 2, range(1)).mean(tf.zeros([3]))
    operations = tf.get_default_graph().get_operations()
    timeouts = [op.get_attr("timeout_seconds") for op in operations if "Collective" in op.type]
    assert timeouts == 4 * [0.0]
    assert cluster.configure(tf.ConfigProto()).operation_timeout_in_ms == 1
