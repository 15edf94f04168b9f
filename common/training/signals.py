"""Signals that end a program: the first one in good order, the second one at once."""

import contextlib
import os
import signal
import threading

from common.distributed.processes import SIGNALS

_ALWAYS = SIGNALS[:2]  # the others stay ignored if they are, as nohup ignores SIGHUP


class Interrupted(KeyboardInterrupt):
    """A signal came where nothing has to be brought to an end.

    Attributes:
      signal: its number.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Interruption:
    """Within it, the first of `SIGNALS` raises `Interrupted`, or is only noted where it is `deferred`.

    The second one has its default action, which ends the process. Python handles the first when the operation under
    way, such as a step, is over; what comes until then counts as one signal. In other threads than the main
    one, which get no signals, it does nothing.

    Attributes:
      signal: the number of the signal that came, or None.
    """

    def __init__(self):
        self.signal = None
        self._deferred = False
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if number in _ALWAYS or before is not signal.SIG_IGN:
                    self._before[number] = signal.SIG_DFL if before is None else before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *exception):
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextlib.contextmanager
    def deferred(self):
        """Within it a signal is noted only: whoever works there asks for `signal` now and then."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def stopping(self):
        """Returns whether a signal came."""
        return self.signal is not None

    def wishes(self):
        """Returns what to feed to a step: nothing, as there is no other process to tell."""
        return {}

    def _note(self, number, frame):
        self.signal = number
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)
        if not self._deferred:
            raise Interrupted(number)
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this step, with a checkpoint; a second signal stops at once\n")
