"""What is at an address (little servers that answer, do not, or are not there), and the watchdog."""

import contextlib
import socket
import threading
import time

import pytest

from common.compat import tf
from common.distributed import liveness, peers
from common.distributed.cluster import Cluster

SETTINGS = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])  # a frame of one setting: 100 streams at most


@contextlib.contextmanager
def listening(answer=None):
    """Yields the address of a socket that answers the first bytes that it gets, or does not even accept."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        if answer is not None:
            thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        if answer is not None:
            thread.join(5)


def test_a_server_that_answers():
    with listening(SETTINGS) as address:
        assert liveness.poll(address) == liveness.ANSWERS


def test_tensorflows_own_server():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    workers = (f"127.0.0.1:{port}", "127.0.0.1:9")
    server = peers.server(Cluster(workers, 0), tf.ConfigProto())
    assert server.target and liveness.poll(workers[0], 20.0) == liveness.ANSWERS


def test_a_process_that_is_stopped():
    """The kernel accepts the connection for it."""
    with listening() as address:
        assert liveness.poll(address, 0.3) == liveness.FROZEN


def test_another_service():
    for answer in (b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with listening(answer) as address:
            assert liveness.poll(address, 5.0) == liveness.FROZEN, answer


def test_nothing_there():
    with listening() as address:
        pass
    assert liveness.poll(address) == liveness.GONE
    assert liveness.poll("no-such-machine.invalid:2222") == liveness.UNREACHABLE


def test_waiting_names_those_that_did_not_come(monkeypatch):
    monkeypatch.setattr(liveness, "_REMIND", 0.1)
    with listening() as gone:
        pass
    with listening(SETTINGS) as good:
        told = []
        assert liveness.wait_for({0: good, 1: gone}, 3.0, told.append) == [1]
        assert told and all(missing == [1] for missing in told)
    assert liveness.wait_for({}, 10.0, None) == []


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(liveness, "_PERIOD", 0.05)
    monkeypatch.setattr(liveness, "_CONFIRM", 0.05)


@pytest.mark.parametrize(
    "answers",
    [
        4 * [liveness.FROZEN],
        4 * [liveness.UNREACHABLE],
        2 * [liveness.GONE, liveness.ANSWERS],  # one refused connection is not enough
    ],
)
def test_the_watchdog_leaves_alone_what_answers_or_may_come_back(answers, hurried, monkeypatch):
    left, last = list(answers), answers[-1]
    monkeypatch.setattr(liveness, "poll_all", lambda addresses: dict.fromkeys(addresses, left.pop(0) if left else last))
    session = tf.Session()
    with liveness.watchdog(session, {1: "a:1"}) as closed:
        while left:
            time.sleep(0.01)
    assert not closed.is_set() and session.run(tf.constant(1.0)) == 1.0


def test_the_watchdog_closes_the_session_of_a_worker_that_is_gone_and_its_thread_ends(hurried):
    with listening() as gone:
        pass
    session, before = tf.Session(), threading.active_count()
    with liveness.watchdog(session, {1: gone}) as closed:
        assert closed.wait(20)
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        session.run(tf.constant(1.0))
