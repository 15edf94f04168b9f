"""What several replicas do besides training: they stop together, and their copies of the variables are kept equal."""

import signal

from common.training.loop import Callback, Periodic


class Agreement(Callback):
    """The loop's `Interruption` where there are several processes: all stop after the same step.

    A process that got a signal says so in the next step. The step's reduction tells all, and all leave the loop then.

    Args:
      interruption: this process's `Interruption`.
      training: a `Training` with a wish.
    """

    def __init__(self, interruption, training):
        self._interruption, self._training = interruption, training
        self._agreed = False

    def wishes(self):
        """Returns what to feed to the step."""
        return {self._training.wish: float(self._interruption.stopping())}

    def fetches(self, step):
        return self._training.stop

    def after_step(self, step, values):
        self._agreed = self._agreed or values > 0

    def stopping(self):
        """Returns whether all processes stop."""
        return self._agreed

    @property
    def signal(self):
        """The number of the signal that came here, SIGTERM for one that came elsewhere, or None."""
        return self._interruption.signal or (signal.SIGTERM if self._agreed else None)


class Alignment(Periodic):
    """Gives all replicas the variables of the chief's replica 0 before each checkpoint of the run.

    Replicas may round the pull-back of gradients differently, and nothing else would bring their copies together. A
    run that goes on from a checkpoint begins with equal copies too, so that it stays the same run.
    """

    def __init__(self, peers, session, frequency, last):
        super().__init__(frequency, last, {})
        self._peers, self._session = peers, session

    def act(self, step, values):
        self._peers.broadcast(self._session)
