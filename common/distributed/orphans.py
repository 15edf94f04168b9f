"""No process outlives the one that started it, not even if that is killed with kill -9."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def ends_with(parent):
    """Returns what a child does between fork and exec so that the kernel kills it when its parent ends; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def ask():
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)

    return ask


class Guard:
    """Kills what is left of process groups when this process ends, however it ends.

    `ends_with` covers this process's own children. What those have started in turn the kernel lets live, and other
    systems than Linux have no such promise: so a small process, in a session of its own, knows the groups and kills
    them once nobody holds the other end of its pipe any more.
    """

    def __init__(self):
        read, self._pipe = os.pipe()
        self._process = os.fork()  # to be made before any thread is started
        if self._process == 0:
            os.setsid()
            os.close(self._pipe)
            _kill_when_alone(read)
        os.close(read)

    def watch(self, group):
        """Takes a process group into care."""
        self._tell(f"+{group}\n")

    def end(self, group):
        """Kills what is left of a group; to be called before its leader is reaped, while the number is its own."""
        kill_group(group)
        self._tell(f"-{group}\n")

    def _tell(self, line):
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard: the kernel's promise remains
            os.write(self._pipe, line.encode())

    def close(self):
        """Ends the guard, and with it every group that it still has."""
        os.close(self._pipe)
        os.waitpid(self._process, 0)


def _kill_when_alone(pipe):
    """What the guard does: it reads until nobody can write any more, kills the groups that are left, and ends."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        groups = set()
        with open(pipe, encoding="ascii") as lines:
            for line in lines:
                (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
        for group in groups:
            kill_group(group)
    finally:
        os._exit(0)


def kill_group(group):
    """Kills a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
