"""Stopping together: the processes of a cluster learn of a signal to one of them after the same step."""

import signal

from common.training.callbacks import Callback


class Agreement(Callback):
    """What the loop asks instead of an `Interruption` where there are several processes.

    A process that got a signal says so in the next step, whose reduction tells all; each leaves the loop after it.

    Args:
      interruption: this process's `Interruption`.
      training: a `Training` with a wish.
    """

    def __init__(self, interruption, training):
        self._interruption, self._training = interruption, training
        self._agreed = False

    def wishes(self):
        """Returns what to feed to the step."""
        return {self._training.wish: float(self.asked())}

    def fetches(self, step):
        return self._training.stop

    def after_step(self, step, values):
        self._agreed = self._agreed or values > 0

    def asked(self):
        """Returns whether a signal came to this process."""
        return self._interruption.stopping()

    def agree(self):
        """Notes that all processes have agreed to stop in another way, such as giving up a validation."""
        self._agreed = True

    def stopping(self):
        """Returns whether all processes stop."""
        return self._agreed

    @property
    def signal(self):
        """The number of the signal that came here, SIGTERM for one that came elsewhere, or None."""
        return self._interruption.signal or (signal.SIGTERM if self._agreed else None)
