"""Processes of this machine that work together: their output line by line, and one end for all of them."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

from common.distributed import orphans

_PAUSE = 0.02  # seconds between two looks at the processes: shorter than what one needs to notice another's end
_LINE_END = "\r\n"
_DRAIN_SECONDS = 5.0  # for the last lines of processes that have ended


class Workers:
    """Processes of one command, each with an environment of its own, in a session of its own.

    A terminal's Ctrl-C thus reaches only the process that started them, which passes it on.

    Args:
      command: a list of words.
      environments: one for each process.
      guard: an `orphans.Guard`.

    Every line that process i prints appears behind `[i] `, on the same one of the two streams.

    Attributes:
      statuses: of each process, None while it runs; 128 + signal if a signal ended it.
    """

    def __init__(self, command, environments, guard):
        self._guard, self._processes, self._pumps, self.statuses = guard, [], [], []
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # All processes before the first thread: what runs between fork and exec must not meet another thread's lock.
        own = {"start_new_session": True, "preexec_fn": orphans.ends_with(os.getpid())}
        try:
            for environment in environments:
                process = subprocess.Popen(command, env=environment, **pipes, **own)
                self._processes.append(process)
                self.statuses.append(None)
                guard.watch(process.pid)
        except BaseException:
            self.close()
            raise
        lock = threading.Lock()
        for index, process in enumerate(self._processes):
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                job = (source, target, f"[{index}] ", lock)
                self._pumps.append(threading.Thread(target=_copy, args=job, daemon=True))
        for pump in self._pumps:
            pump.start()

    def look(self):
        """Returns [(index, status)] of those that have ended since the last look, first those that a signal ended.

        Such a one is the cause if another of the same moment has ended by itself.
        """
        ended = []
        for index, process in enumerate(self._processes):
            if self.statuses[index] is None and _has_ended(process.pid):
                self._guard.end(process.pid)
                status = process.wait()
                self.statuses[index] = status if status >= 0 else 128 - status
                ended.append((status >= 0, index, self.statuses[index]))
        return [(index, status) for _, index, status in sorted(ended)]

    def running(self):
        """Returns the indices of those that run."""
        return [index for index, status in enumerate(self.statuses) if status is None]

    def send(self, number):
        """Sends a signal to each process that runs; SIGKILL also to what it has started."""
        for index in self.running():
            process = self._processes[index].pid  # not reaped yet, so the number is still its own
            if number == signal.SIGKILL:
                orphans.kill_group(process)
            os.kill(process, number)

    def wait(self, signals, grace, say):
        """Waits until all have ended; returns (index, status) of the one that failed first, or None.

        When one fails, or a signal comes, which is passed on to all, they have `grace` seconds to end by themselves,
        then SIGTERM and as many seconds again, then SIGKILL. A second signal kills all at once.

        Args:
          signals: a `Signals`.
          grace: seconds.
          say: takes a line for the user.
        """
        failed, passed, deadline, harsher = None, 0, None, [signal.SIGTERM, signal.SIGKILL]
        while self.running():
            for index, status in self.look():
                if status and failed is None:
                    failed = (index, status)
                    rest = f"; the others have {grace:g} s to end by themselves" if self.running() else ""
                    say(f"worker {index} ended with {described(status)}{rest}")
            if len(signals.came) > passed:
                passed += 1
                self.send(signal.SIGKILL if passed > 1 else _for_workers(signals.came[0]))
            if deadline is None and (failed or passed):
                deadline = time.monotonic() + grace
            elif deadline is not None and harsher and self.running() and time.monotonic() >= deadline:
                number, deadline = harsher.pop(0), time.monotonic() + grace
                say(f"worker {', '.join(map(str, self.running()))} has not ended: {number.name}")
                self.send(number)
            time.sleep(_PAUSE)
        return failed

    def close(self):
        """Kills what runs, and waits for the last lines of output."""
        self.send(signal.SIGKILL)
        while self.running():
            self.look()
            time.sleep(_PAUSE)
        for pump in self._pumps:
            pump.join(_DRAIN_SECONDS)


def _has_ended(process):
    """Whether a child has ended; it is not reaped, so that its number and its group's stay its own."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _copy(source, target, prefix, lock):
    """Copies lines with a prefix. A target that nobody reads any more is left out: training goes on."""
    with source:
        for line in source:
            with lock, contextlib.suppress(OSError, ValueError):
                target.write(f"{prefix}{line.decode(errors='replace').rstrip(_LINE_END)}\n")
                target.flush()


class Signals:
    """Within it SIGINT, SIGTERM and SIGHUP are only noted.

    Attributes:
      came: the numbers of those that came, in order.
    """

    def __init__(self):
        self.came = []
        self._exits = contextlib.ExitStack()

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as it is under nohup
                before = signal.signal(number, lambda number, frame: self.came.append(number))
                self._exits.callback(signal.signal, number, before)
        return self

    def __exit__(self, *exception):
        self._exits.close()


def _for_workers(number):
    """What is passed on: a terminal that is closed ends workers as SIGTERM does, with a checkpoint."""
    return signal.SIGTERM if number == signal.SIGHUP else number


def described(status):
    """Returns an exit status in words."""
    if status - 128 in set(signal.Signals):
        return f"status {status} ({signal.Signals(status - 128).name})"
    return f"status {status}"
