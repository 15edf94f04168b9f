"""What is at an address: little servers that answer, do not, or are not there."""

import contextlib
import socket
import threading

from common.compat import tf
from common.distributed import liveness
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
        assert liveness.look(address) == liveness.ANSWERS


def test_tensorflows_own_server():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    workers = (f"127.0.0.1:{port}", "127.0.0.1:9")
    server = Cluster(workers, 0).server(tf.ConfigProto())
    assert server.target and liveness.look(workers[0], 20.0) == liveness.ANSWERS


def test_a_process_that_is_stopped():
    """The kernel accepts the connection for it."""
    with listening() as address:
        assert liveness.look(address, 0.3) == liveness.FROZEN


def test_another_service():
    for answer in (b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with listening(answer) as address:
            assert liveness.look(address, 5.0) == liveness.FROZEN, answer


def test_nothing_there():
    with listening() as address:
        pass
    assert liveness.look(address) == liveness.GONE
    assert liveness.look("no-such-machine.invalid:2222") == liveness.UNREACHABLE


def test_waiting_names_those_that_did_not_come():
    with listening(SETTINGS) as good, listening() as silent:
        with listening() as gone:
            pass
        missing = liveness.wait_for({0: good, 1: gone}, 0.5)
        assert missing == {1: liveness.GONE}
        told = []
        liveness.wait_for({1: gone}, 1.0, told.append, every=0.4)
        assert told == [[1], [1]]
        assert liveness.wait_for({}, 10.0) == {}
        assert liveness.look(silent, 0.2) == liveness.FROZEN
