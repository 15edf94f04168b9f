"""What is at a worker's address: a TensorFlow server that answers, one that is frozen, or nothing.

A server speaks HTTP/2 and answers the client's preface (RFC 9113, section 3.4) with its settings at once. The kernel
accepts connections for a process that is stopped or hangs, so that only the answer tells.
"""

import concurrent.futures
import socket
import time

ANSWERS, FROZEN, GONE, UNREACHABLE = "answers", "frozen", "gone", "unreachable"
# The preface and an empty SETTINGS frame: length 0, type 4, no flags, stream 0.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4
_AT_ONCE = 64  # addresses looked at
_PAUSE = 0.2  # seconds between two looks at an address


def look(address, seconds=2.0):
    """Returns what is at "host:port", having waited at most so many seconds twice: to connect, and for the answer.

    ANSWERS: a server that works. FROZEN: something that accepts connections and does not answer as one. GONE: the
    machine refuses the connection, so no process listens. UNREACHABLE: no such machine, or no way to it.
    """
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds) as connection:
            return _answer(connection, seconds)
    except ConnectionRefusedError:
        return GONE
    except OSError:  # no name, no route, or no reply at all
        return UNREACHABLE


def _answer(connection, seconds):
    connection.settimeout(seconds)
    try:
        connection.sendall(_PREFACE)
        header = b""
        while len(header) < 9 and (more := connection.recv(9 - len(header))):
            header += more
    except OSError:
        return FROZEN
    return ANSWERS if len(header) == 9 and header[3] == _SETTINGS else FROZEN


def look_at(addresses):
    """Returns {name: what is there} of {name: "host:port"}, all looked at together."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(zip(addresses, threads.map(look, addresses.values())))


def wait_for(addresses, seconds, remind=None, every=15.0):
    """Waits until all of {name: "host:port"} answer; returns {name: what is there} of those that did not in time.

    `remind([name, ...])` is called every so many seconds with those that are missing still.
    """
    begin = time.monotonic()
    end, again = begin + seconds, begin + every
    missing = dict(addresses)
    while True:
        found = look_at(missing)
        missing = {name: address for name, address in missing.items() if found[name] != ANSWERS}
        if not missing or time.monotonic() > end:
            return {name: found[name] for name in missing}
        if remind and time.monotonic() > again:
            remind(list(missing))
            again += every
        time.sleep(_PAUSE)
