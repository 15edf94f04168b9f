"""SIGINT and SIGTERM: the first ends a program in good order, the second at once."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal came where nothing has to be brought to an end.

    Attributes:
      signal: its number.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Interruption:
    """Within it, the first SIGINT or SIGTERM raises `Interrupted`, or is only noted where it is `deferred`.

    A second one ends the process at once, with the customary status 128 + number: a thread of its own sees to that, as
    Python's own handlers wait for the operation under way, which may take a minute. In other threads than the main one
    there are no signals, and this does nothing.

    Attributes:
      signal: the number of the signal that came, or None.
    """

    def __init__(self):
        self.signal = None
        self._deferred = False
        self._exits = contextlib.ExitStack()

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            read, write = os.pipe()
            os.set_blocking(write, False)
            watcher = threading.Thread(target=self._watch, args=(read,), daemon=True)
            watcher.start()
            self._exits.callback(watcher.join)
            self._exits.callback(os.close, write)  # the end of what the watcher reads
            self._exits.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(write, warn_on_full_buffer=False))
            for number in SIGNALS:
                self._exits.callback(signal.signal, number, signal.signal(number, self._note))
        return self

    def __exit__(self, *exception):
        self._exits.close()

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

    # What an `Agreement` of several processes has besides: here there is nobody to agree with.

    def asked(self):
        """Returns whether a signal came to this process."""
        return self.stopping()

    def agree(self):
        """Is called where all processes stop."""

    def wishes(self):
        """Returns what to feed to a step so that other processes learn of a signal."""
        return {}

    def _note(self, number, frame):
        self.signal = number
        if not self._deferred:
            raise Interrupted(number)

    def _watch(self, pipe):
        came = 0
        with open(pipe, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] not in SIGNALS:
                    continue
                came += 1
                if came > 1:
                    _tell("stopped at once")
                    os._exit(128 + number[0])
                if self._deferred:
                    _tell("stopping after this step, with a checkpoint; a second signal stops at once")


def _tell(line):
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())
