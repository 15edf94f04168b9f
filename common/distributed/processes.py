"""Runs copies of a command together: marked output, and one end for all of them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_POLL = 0.02  # seconds; shorter than the time in which one worker notices that another has ended
_DRAIN = 5.0  # seconds for the last lines of processes that have ended
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def end_with(parent):
    """Has the kernel kill this process when its parent, a process number, ends; Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)


@contextlib.contextmanager
def noted_signals():
    """Within it a signal is only noted, in the list that this yields; what is ignored (nohup: SIGHUP) stays ignored."""
    came = []
    numbers = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_together(command, environments, grace, came, say):
    """Runs a command once in each environment; returns (index, exit status) of the process that failed first, or None.

    Each line of process i appears behind `[i] `. When one fails or a signal comes, which all get, the rest have
    `grace` seconds to end, then SIGTERM, as many seconds later SIGKILL. A second signal kills all at once.

    Args:
      command: a list of words.
      environments: a dict for each process.
      grace: seconds.
      came: the list of `noted_signals`.
      say: takes a line for the user.

    Raises OSError if the command cannot be started. Whatever is raised, no process is left running.
    """
    processes, pumps, parent = [], [], os.getpid()
    try:
        for environment in environments:
            processes.append(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    start_new_session=True,  # a terminal's Ctrl-C reaches the launcher alone
                    preexec_fn=lambda: end_with(parent),
                )
            )  # fmt: skip
        # Threads start after the last fork: a forked process must not wait for a lock that a thread held.
        lock = threading.Lock()
        for index, process in enumerate(processes):
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                pumps.append(threading.Thread(target=_copy, args=(source, target, f"[{index}] ", lock), daemon=True))
                pumps[-1].start()
        return _wait(processes, grace, came, say)
    finally:
        _send(processes, signal.SIGKILL)
        for process in processes:
            process.wait()
        for pump in pumps:
            pump.join(_DRAIN)


def _wait(processes, grace, came, say):
    failed, passed, deadline, harsher = None, 0, None, [signal.SIGTERM, signal.SIGKILL]
    while True:
        running = [index for index, process in enumerate(processes) if process.poll() is None]
        codes = [(process.returncode, index) for index, process in enumerate(processes) if process.returncode]
        if codes and failed is None:
            code, index = min(codes)  # Popen counts signals below 0: of several, one that a signal ended is the cause
            failed = index, code if code > 0 else 128 - code
            how = f"status {code}" if code > 0 else signal.Signals(-code).name
            rest = f"; the others have {grace:g} s to end by themselves" if running else ""
            say(f"worker {index} ended with {how}{rest}")
        if not running:
            return failed
        if len(came) > passed:
            passed += 1
            # Workers save a checkpoint on SIGINT and SIGTERM alike; the rest are passed on as SIGTERM.
            soft = signal.SIGINT if came[0] == signal.SIGINT else signal.SIGTERM
            _send(processes, soft if passed == 1 else signal.SIGKILL)
        if deadline is None and (failed or passed):
            deadline = time.monotonic() + grace
        elif deadline is not None and harsher and time.monotonic() >= deadline:
            number, deadline = harsher.pop(0), time.monotonic() + grace
            say(f"worker {', '.join(map(str, running))} has not ended: {number.name}")
            _send(processes, number)
        time.sleep(_POLL)


def _send(processes, number):
    """Sends a signal to those that run and to their process groups."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, number)


def _copy(source, target, prefix, lock):
    """Copies lines behind a prefix. A target that nobody reads any more is left out; the worker goes on."""
    with source:
        for line in source:
            text = line.decode(errors="replace").rstrip("\r\n")
            with lock, contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: it is None
                target.write(f"{prefix}{text}\n")
                target.flush()
