"""Runs copies of a command together: marked output, and one end for all of them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from common.console import complain

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_POLL = 0.02  # seconds; shorter than the time in which one worker notices that another has ended
_DRAIN = 5.0  # seconds for the last lines of processes that have ended
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # that end a program


def end_with(parent):
    """Has the kernel kill this process when its parent, a process number, ends; Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)


def heeded():
    """Returns those of `SIGNALS` that are not ignored, as nohup ignores SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def noted_signals():
    """Has signals only noted from now on, in the list that it returns; ignored ones stay ignored."""
    came = []
    for number in heeded():
        signal.signal(number, lambda number, frame: came.append(number))
    return came


def run_together(command, environments, grace, came=()):
    """Runs a command once in each environment; returns the exit status of the process that failed first, or 0.

    Each line of process i appears behind `[i] `. When one fails or a signal comes, which all get, the rest have
    `grace` seconds to end, then SIGTERM, as many seconds later SIGKILL. A second signal kills all at once. `came` is
    the list of `noted_signals`.

    Raises OSError if the command cannot be started. Whatever is raised, no process is left running.
    """
    processes, threads, parent = [], [], os.getpid()
    try:
        for environment in environments:
            processes.append(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True, errors="replace",
                    start_new_session=True,  # a terminal's Ctrl-C reaches the launcher alone
                    preexec_fn=lambda: end_with(parent),
                )
            )  # fmt: skip
        # Threads start after the last fork: a forked process must not wait for a lock that a thread held.
        lock = threading.Lock()
        for index, process in enumerate(processes):
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                threads.append(threading.Thread(target=_copy, args=(source, target, f"[{index}] ", lock), daemon=True))
                threads[-1].start()
        return _wait(processes, grace, came)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join(_DRAIN)


def _wait(processes, grace, came):
    """Returns the status of the first that fails, or 0; ends the others after it, and all after a signal."""
    while not came and not _failed(processes) and _running(processes):
        time.sleep(_POLL)
    first = _failed(processes)
    if came:
        _send(processes, came[0])
    elif first:
        rest = f"; the others have {grace:g} s to end by themselves" if _running(processes) else ""
        how = f"status {first[1]}" if first[1] > 0 else signal.Signals(-first[1]).name
        complain(f"launch: worker {first[0]} ended with {how}{rest}")
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline, before = time.monotonic() + grace, len(came)
        while _running(processes) and time.monotonic() < deadline and len(came) == before:
            time.sleep(_POLL)
        if running := _running(processes):
            number = signal.SIGKILL if len(came) > 1 else number
            complain(f"launch: worker {', '.join(map(str, running))} has not ended: {number.name}")
            _send(processes, number)
    code = (first or _failed(processes) or (0, 0))[1]
    return code if code >= 0 else 128 - code  # Popen counts signals below 0


def _running(processes):
    return [index for index, process in enumerate(processes) if process.poll() is None]


def _failed(processes):
    """Returns (index, return code) of one that failed, or None."""
    return next(((index, process.returncode) for index, process in enumerate(processes) if process.returncode), None)


def _send(processes, number):
    for process in processes:
        process.send_signal(number)


def _copy(source, target, prefix, lock):
    """Copies lines behind a prefix. A target that nobody reads any more is left out; the worker goes on."""
    with source:
        for line in source:
            with lock, contextlib.suppress(OSError, ValueError):
                target.write(prefix + line.rstrip("\n") + "\n")
                target.flush()
