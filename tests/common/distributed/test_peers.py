"""Stopping together, and what is said when another process is gone."""

import concurrent.futures
import dataclasses
import signal
import socket
import threading
import time
import types

import numpy as np
import pytest

from common.compat import tf
from common.distributed import collectives, liveness, peers
from common.distributed.cluster import ALONE, Cluster
from common.graph import variables
from common.graph.replicas import Replica
from common.graph.variables import Role
from common.training.cluster_callbacks import Agreement, Alignment
from common.training.signals import Interruption
from tests.common.distributed.workers import free_addresses

LOST = tf.errors.UnavailableError(None, None, "Collective ops is aborted")
ENDED = "has ended: nothing listens at its address"


def test_a_signal_is_a_wish_and_what_all_know_after_a_step_an_agreement():
    interruption, training = Interruption(), types.SimpleNamespace(wish="wish", stop="stop")
    agreement = Agreement(interruption, training)
    assert agreement.wishes() == {"wish": 0.0} and agreement.fetches(0) == "stop"
    interruption.signal = signal.SIGINT
    assert agreement.wishes() == {"wish": 1.0} and not agreement.stopping()
    agreement.after_step(0, 0.0)
    assert not agreement.stopping()
    agreement.after_step(1, 0.25)  # the mean over four replicas, one of which wishes
    assert agreement.stopping() and agreement.signal == signal.SIGINT


def test_a_signal_elsewhere_is_a_sigterm():
    agreement = Agreement(Interruption(), None)
    assert agreement.signal is None
    agreement.after_step(0, 0.5)
    assert agreement.stopping() and agreement.signal == signal.SIGTERM


def test_the_lost_worker_is_named_and_what_was_saved_is_said():
    cluster = Cluster(tuple(free_addresses(2)), 0)
    with pytest.raises(peers.PeerLost) as caught:
        with peers.Peers(cluster).watched(tf.Session(), lambda fault: f"told '{fault}'"):
            raise LOST
    fault = f"{cluster.name(1)} {ENDED}"
    assert str(caught.value) == f"{fault}; told '{fault}'"


def test_a_rescue_that_fails_does_not_hide_the_fault():
    def rescue(fault):
        raise OSError("the disk is full")

    cluster = Cluster(tuple(free_addresses(2)), 1)
    with pytest.raises(peers.PeerLost, match=r"^worker 0 .* has ended.*; nothing could be saved .the disk is full.$"):
        with peers.Peers(cluster).watched(tf.Session(), rescue):
            raise LOST


def test_if_all_answer_the_error_itself_is_told(monkeypatch):
    monkeypatch.setattr(peers, "_PAUSE", 0.0)
    monkeypatch.setattr(liveness, "poll_all", lambda addresses: dict.fromkeys(addresses, liveness.ANSWERS))
    with pytest.raises(peers.PeerLost, match="all of them answer: Collective ops is aborted"):
        with peers.Peers(Cluster(tuple(free_addresses(2)), 0)).watched(tf.Session()):
            raise LOST


def test_other_errors_and_a_process_on_its_own_are_left_alone():
    with pytest.raises(tf.errors.UnavailableError), peers.Peers(ALONE).watched(tf.Session()):
        raise LOST
    others = peers.Peers(Cluster(tuple(free_addresses(2)), 0))
    for mine in (ValueError("mine"), RuntimeError("mine")):
        with pytest.raises(type(mine), match="mine"), others.watched(tf.Session()):
            raise mine


def test_a_worker_that_is_stopped_is_at_fault_before_those_that_have_given_up(monkeypatch):
    """One that waited longer ends before the others have polled it."""
    cluster = Cluster(tuple(free_addresses(3)), 0)
    monkeypatch.setattr(peers, "_LINGER", 0.0)
    monkeypatch.setattr(liveness, "poll_all", lambda addresses: {1: liveness.FROZEN, 2: liveness.GONE})
    with pytest.raises(peers.PeerLost) as caught, peers.Peers(cluster).watched(tf.Session()):
        raise LOST
    assert str(caught.value) == f"{cluster.name(1)} does not answer: it is stopped, or hangs"


def met(*items, count=None):
    """What `rendezvous` said to each worker, None for nothing; of `count` workers those start that have items."""
    cluster = Cluster(tuple(free_addresses(count or len(items))), timeout=60.0)

    def meet(index):
        mine = dataclasses.replace(cluster, index=index)
        try:
            peers.Peers(mine).rendezvous(mine.configure(tf.ConfigProto()), 30.0 if count is None else 1.0, items[index])
        except ValueError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        return list(threads.map(meet, range(len(items)))), cluster


def test_workers_that_would_do_the_same_meet():
    assert met({"the code": "1", "--seed": "0"}, {"the code": "1", "--seed": "0"})[0] == [None, None]


def test_workers_that_would_train_something_else_are_refused():
    told, cluster = met({"the code": "1", "--seed": "0"}, {"the code": "1", "--seed": "1"})
    message = (
        f"not the same as of {cluster.name(0)}: --seed of {cluster.name(1)}. All workers need the same flags, code and "
        "data; give what flags.txt says to a worker that does not see the run folder"
    )
    assert told == [message] * 2


def test_a_worker_that_never_starts_is_named(monkeypatch, capsys):
    monkeypatch.setattr(peers, "_LINGER", 0.0)
    monkeypatch.setattr(liveness, "_REMIND", 0.3)
    (told,), cluster = met({}, count=2)
    assert f"waits for {cluster.name(1)}" in capsys.readouterr().out.splitlines()
    assert told == (
        f"not there within 1 s (--start_timeout): {cluster.name(1)}; start all workers, and see what these have said "
        "if they were"
    )


@pytest.fixture
def waiting(monkeypatch):
    """A cluster, what opens sessions on the server of its worker 0, and an operation that never ends."""
    monkeypatch.setattr(liveness, "_PERIOD", 0.05)
    monkeypatch.setattr(liveness, "_CONFIRM", 0.05)
    cluster = Cluster(tuple(free_addresses(2)), 0)
    config = cluster.configure(tf.ConfigProto())
    server = peers.server(cluster, config)
    return cluster, lambda: tf.Session(server.target, config=config), tf.FIFOQueue(1, tf.float32).dequeue()


def test_a_step_that_would_wait_for_ever_ends_and_its_variables_are_there_still(waiting):
    cluster, sessions, never = waiting
    host, port = cluster.workers[1].split(":")
    other = socket.create_server((host, int(port)))
    number = tf.get_variable("number", initializer=7.0)
    session = sessions()
    session.run(number.initializer)
    threading.Timer(0.5, other.close).start()
    said = []

    def rescue(fault):
        with sessions() as anew:
            said.append(anew.run(number))
        return "saved"

    with pytest.raises(peers.PeerLost) as caught, peers.Peers(cluster).watched(session, rescue):
        session.run(never)
    assert str(caught.value) == f"{cluster.name(1)} {ENDED}; saved"
    assert said == [7.0]


def test_between_two_steps_too(waiting):
    cluster, sessions, _ = waiting
    session, something = sessions(), tf.constant(1.0)
    with pytest.raises(peers.PeerLost, match=rf"^worker 1 .* {ENDED}$"):
        with peers.Peers(cluster).watched(session):
            for _ in range(1000):
                session.run(something)
                time.sleep(0.02)


def test_if_it_was_closed_when_all_was_done_that_is_told_too(waiting):
    """As after the last save, whose error is no error of the session's."""
    cluster, sessions, _ = waiting
    with pytest.raises(peers.PeerLost, match=rf"^worker 1 .* {ENDED}; saved$"):
        with peers.Peers(cluster).watched(sessions(), lambda fault: "saved"):
            time.sleep(1.0)


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


def test_no_collective_has_a_timeout_of_its_own():
    """Each that has would start threads that sleep until then; the session's timeout holds for all."""
    cluster = Cluster(tuple(free_addresses(2)), 0, timeout=0.0001)
    variable = tf.get_variable("number", initializer=1.0)
    collectives.summed(tf.zeros([3]), cluster, collectives.Kind.EVALUATION)
    collectives.broadcast([variable], cluster)
    collectives.broadcast([variable], Cluster(cluster.workers, 1))
    Replica(0, 2, range(1)).mean(tf.zeros([3]))
    operations = tf.get_default_graph().get_operations()
    timeouts = [op.get_attr("timeout_seconds") for op in operations if "Collective" in op.type]
    assert timeouts == 4 * [0.0]
    assert cluster.configure(tf.ConfigProto()).operation_timeout_in_ms == 1


def test_variables_of_one_type_are_one_message():
    for name, dtype in (("a", tf.float32), ("b", tf.float32), ("step", tf.int64)):
        tf.get_variable(name, [100], dtype, tf.zeros_initializer())
    for index in range(2):
        collectives.broadcast(tf.global_variables(), Cluster(("a:1", "b:1"), index))
    operations = [op for op in tf.get_default_graph().get_operations() if "Collective" in op.type]
    assert [op.type for op in operations] == 4 * ["CollectiveReduceV2"]
    assert [op.outputs[0].shape.as_list() for op in operations] == 2 * [[200], [100]]
