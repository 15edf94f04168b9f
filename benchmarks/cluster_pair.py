"""What the cluster's benchmark measures with: processes that call at the same time, and a plain TCP stream."""

import concurrent.futures
import contextlib
import os
import socket

from benchmarks.processes import Worker
from common.launch import reserved

STREAM_BYTES = 64 << 20  # of one turn
_BLOCK = 1 << 20


class Pair:
    """Two processes that are workers of one cluster; a call runs the same function in both, at the same time.

    Args:
      cores: which cores each may use; None for all.
      environment: what is added to the environment of both.
    """

    def __init__(self, cores=(None, None), environment=None):
        self._stack = contextlib.ExitStack()
        ports = self._stack.enter_context(reserved(len(cores)))
        self.addresses = tuple(f"127.0.0.1:{port}" for port in ports)
        self._workers = [self._stack.enter_context(Worker()) for _ in cores]
        self._threads = self._stack.enter_context(concurrent.futures.ThreadPoolExecutor(len(cores)))
        for worker, own in zip(self._workers, cores):
            worker(_confine, own, environment or {})

    def __call__(self, function, *arguments):
        """Returns what the first worker's call of `function(index, *arguments)` does."""
        calls = [
            self._threads.submit(worker, function, index, *arguments) for index, worker in enumerate(self._workers)
        ]
        return [call.result() for call in calls][0]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()


def _confine(cores, environment):
    os.environ.update(environment)
    if cores:
        os.sched_setaffinity(0, cores)


class Stream:
    """A stream through the loopback interface between two processes; a call sends it and waits for the answer."""

    def __enter__(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self._receiver = Worker()
        self._wait = concurrent.futures.ThreadPoolExecutor(1)
        answering = self._wait.submit(self._receiver, _receive, listener.getsockname())
        self._connection, _ = listener.accept()
        listener.close()
        self._answering, self._block = answering, bytes(_BLOCK)
        return self

    def __call__(self):
        for _ in range(STREAM_BYTES // _BLOCK):
            self._connection.sendall(self._block)
        self._connection.recv(1)

    def __exit__(self, *exception):
        self._connection.close()
        self._answering.result()
        self._receiver.close()
        self._wait.shutdown()


def _receive(address):
    buffer = bytearray(_BLOCK)
    with socket.create_connection(address) as connection:
        received = 0
        while count := connection.recv_into(buffer):
            received += count
            if received == STREAM_BYTES:
                received = 0
                connection.sendall(b".")
