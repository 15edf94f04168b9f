"""The loop: everything but the update itself is done by callbacks."""


def train(session, train_op, first, last, callbacks, interruption):
    """Does the updates `first` to `last` - 1, or up to an interruption; returns whether all of them were done.

    `interruption` is an `Interruption`, or an `Agreement` of several processes.
    At each step the callbacks say what they want to see of it (`fetches`) and get it (`after_step`), in their order.
    """
    for step in range(first, last):
        wanted = [callback.fetches(step) for callback in callbacks]
        _, seen = session.run([train_op, wanted], interruption.wishes())
        for callback, values in zip(callbacks, seen):
            callback.after_step(step, values)
        if interruption.stopping():
            break
    complete = step == last - 1
    for callback in callbacks:
        callback.end(step, interrupted=not complete)
    return complete


class Callback:
    """Does nothing; the base of all."""

    def fetches(self, step):
        """Returns what to fetch along with the update `step`: any structure of tensors."""
        return {}

    def after_step(self, step, values):
        """Is called after the update `step` with the values of what was asked for."""

    def end(self, step, interrupted):
        """Is called once when the loop has ended with the update `step`; in a hurry if it was interrupted."""


class Periodic(Callback):
    """Acts after steps s with (s + 1) % frequency = 0, and after the step `last`, the last of the run.

    Args:
      frequency, last: see above.
      tensors: what `act` gets of a step at which it is due, any structure of tensors.
    """

    def __init__(self, frequency, last, tensors):
        self._frequency, self._last, self._tensors = frequency, last, tensors

    def due(self, step):
        return (step + 1) % self._frequency == 0 or step == self._last

    def act(self, step, values):
        """What is to be done after `step`."""
        raise NotImplementedError

    def fetches(self, step):
        return self._tensors if self.due(step) else {}

    def after_step(self, step, values):
        if self.due(step):
            self.act(step, values)
