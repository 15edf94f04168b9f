"""Runs a job in a process of its own, which a signal brings to an end in good order."""

import signal
import subprocess
import sys

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_LOOK = 1.0  # seconds between two looks at how far a job is


class Launcher:
    """Within it, SIGINT, SIGTERM and SIGHUP are passed on to the job that runs: it saves a checkpoint and ends.

    The job is in a session of its own, so Ctrl-C reaches it once, from here; a second one ends it at once.

    Attributes:
      signal: the number of the first signal that came, or None.
    """

    def __init__(self):
        self.signal = None
        self._process = None
        self._before = {}

    def __enter__(self):
        self._before = {number: signal.signal(number, self._pass_on) for number in _SIGNALS}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, job, look):
        """Runs a job to its end; returns its exit status. Calls `look()` now and then meanwhile."""
        if self.signal:
            return 128 + self.signal
        self._process = subprocess.Popen(
            [sys.executable, "train.py", *job.arguments], cwd=job.folder, start_new_session=True
        )
        if self.signal:  # it came just now
            self._process.terminate()
        try:
            while True:
                try:
                    return self._process.wait(_LOOK)
                except subprocess.TimeoutExpired:
                    look()
        finally:
            self._process = None

    def _pass_on(self, number, frame):
        self.signal = self.signal or number
        if self._process is not None:
            self._process.terminate()
