"""Whether other workers are there: polls of their addresses, and a watchdog that ends a session when one is gone.

A TensorFlow server speaks HTTP/2 and answers a client's preface (RFC 9113, section 3.4) with its settings at once. The
kernel accepts connections for a process that is stopped or hangs, so that only the answer tells.
"""

import concurrent.futures
import contextlib
import socket
import threading
import time

ANSWERS = "answers"
FROZEN = "does not answer: it is stopped, or hangs"
GONE = "has ended: nothing listens at its address"
UNREACHABLE = "cannot be reached: its machine is down, or the network is"

# The preface and an empty SETTINGS frame: length 0, type 4, no flags, stream 0.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4
_AT_ONCE = 64  # addresses polled
_PAUSE, _REMIND = 0.2, 15.0  # seconds between two polls of workers that start, and between two words to the user
_PERIOD, _CONFIRM = 2.0, 0.5  # seconds between two polls of the watchdog, and until it believes that a worker is gone


def poll(address, seconds=2.0):
    """Returns what is at "host:port": ANSWERS, FROZEN, GONE (the connection is refused) or UNREACHABLE.

    It waits at most `seconds` to connect, and as long again for the answer.
    """
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds) as connection:
            return ANSWERS if _speaks_http2(connection) else FROZEN
    except ConnectionRefusedError:
        return GONE
    except OSError:  # no name, no route, or no reply at all
        return UNREACHABLE


def _speaks_http2(connection):
    try:
        connection.sendall(_PREFACE)
        with connection.makefile("rb") as stream:
            header = stream.read(9)
    except OSError:
        return False
    return len(header) == 9 and header[3] == _SETTINGS


def poll_all(addresses):
    """Returns {index: what is there} of {index: "host:port"}, all polled together."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(zip(addresses, threads.map(poll, addresses.values())))


def wait_for(addresses, seconds, remind):
    """Waits until all of {index: "host:port"} answer; returns the indices of those that did not within `seconds`.

    `remind([index, ...])` is called every 15 s with those that are missing still.
    """
    begin = reminded = time.monotonic()
    missing = list(addresses)
    while True:
        found = poll_all({index: addresses[index] for index in missing})
        missing = [index for index in missing if found[index] != ANSWERS]
        now = time.monotonic()
        if not missing or now > begin + seconds:
            return missing
        if now > reminded + _REMIND:
            remind(missing)
            reminded = now
        time.sleep(_PAUSE)


@contextlib.contextmanager
def watchdog(session, addresses):
    """Within it `session` is closed, which ends what it runs, once a worker of {index: "host:port"} is GONE.

    A collective fails by itself only in processes that wait for data of the lost one; in the others it never ends.
    A worker that is FROZEN or UNREACHABLE may come back: it is left to the timeout of the session.

    Yields an event that is set when the session was closed.
    """
    done, closed = threading.Event(), threading.Event()

    def watch():
        while not done.wait(_PERIOD):
            gone = {index: addresses[index] for index, what in poll_all(addresses).items() if what == GONE}
            if gone and not done.wait(_CONFIRM) and GONE in poll_all(gone).values() and not done.is_set():
                closed.set()
                session.close()
                return

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield closed
    finally:
        done.set()
        thread.join()
