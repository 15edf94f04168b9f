"""A session that waits for ever ends when another process has ended, and with nothing else."""

import socket
import threading
import time

import pytest

from common.compat import tf
from common.distributed import liveness, lookout, peers
from common.distributed.cluster import Cluster
from tests.common.distributed.workers import free_addresses


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(lookout, "_PERIOD", 0.05)
    monkeypatch.setattr(lookout, "_CONFIRM", 0.05)


def waiting(cluster):
    """What opens sessions on this process's server, and an operation that never ends."""
    config = cluster.configure(tf.ConfigProto())
    server = cluster.server(config)
    return lambda: tf.Session(server.target, config=config), tf.FIFOQueue(1, tf.float32).dequeue()


def test_a_step_that_would_wait_for_ever_ends_and_its_variables_are_there_still():
    cluster = Cluster(tuple(free_addresses(2)), 0)
    host, port = cluster.workers[1].split(":")
    other = socket.create_server((host, int(port)))
    number = tf.get_variable("number", initializer=7.0)
    sessions, never = waiting(cluster)
    session = sessions()
    session.run(number.initializer)
    threading.Timer(0.5, other.close).start()
    said = []

    def rescue(fault):
        with sessions() as anew:
            said.append(anew.run(number))
        return "saved"

    with pytest.raises(peers.PeerLost) as caught, peers.Peers(cluster).watched(rescue, session):
        session.run(never)
    assert str(caught.value) == f"{cluster.name(1)} has ended: nothing listens at its address; saved"
    assert said == [7.0]


def test_between_two_steps_too():
    cluster = Cluster(tuple(free_addresses(2)), 0)
    session = waiting(cluster)[0]()
    something = tf.constant(1.0)
    with pytest.raises(peers.PeerLost, match=r"^worker 1 .* has ended: nothing listens at its address$"):
        with peers.Peers(cluster).watched(session=session):
            for _ in range(1000):
                session.run(something)
                time.sleep(0.02)


@pytest.mark.parametrize("what", [liveness.ANSWERS, liveness.FROZEN, liveness.UNREACHABLE])
def test_whatever_may_come_back_is_left_alone(what, monkeypatch):
    looks = []
    monkeypatch.setattr(liveness, "look_at", lambda addresses: looks.append(1) or dict.fromkeys(addresses, what))
    session = tf.Session()
    with lookout.Lookout(session, {1: "a:1"}) as watch:
        while len(looks) < 4:
            time.sleep(0.01)
    assert not watch.found and session.run(tf.constant(1.0)) == 1.0


def test_one_refused_connection_is_not_enough(monkeypatch):
    answers = [liveness.GONE, liveness.ANSWERS, liveness.GONE, liveness.ANSWERS, liveness.ANSWERS]
    monkeypatch.setattr(
        liveness, "look_at", lambda addresses: dict.fromkeys(addresses, answers.pop(0) if answers else liveness.ANSWERS)
    )
    session = tf.Session()
    with lookout.Lookout(session, {1: "a:1"}) as watch:
        while answers:
            time.sleep(0.01)
    assert not watch.found


def test_the_threads_end_with_it():
    before = threading.active_count()
    with lookout.Lookout(tf.Session(), {1: free_addresses(1)[0]}):
        pass
    assert threading.active_count() == before


def test_if_it_was_closed_when_all_was_done_that_is_told_too(monkeypatch):
    """As after the last save, whose error is no error of the session's."""
    cluster = Cluster(tuple(free_addresses(2)), 0)
    session = waiting(cluster)[0]()
    with pytest.raises(peers.PeerLost, match=r"^worker 1 .* has ended: nothing listens at its address; saved$"):
        with peers.Peers(cluster).watched(lambda fault: "saved", session):
            time.sleep(1.0)
