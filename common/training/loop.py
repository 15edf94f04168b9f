"""The loop: everything but the update itself is done by callbacks."""

import os
import signal


class Interruption:
    """Within it, the first SIGINT or SIGTERM lets the step under way end; a second one acts at once, as usual.

    Attributes:
      signal: the number of the signal that came, or None.
    """

    def __enter__(self):
        self.signal = None
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number, frame):
        self.signal = number
        self._restore()
        os.write(2, b"\nstopping after this step, with a checkpoint; a second signal stops at once\n")

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *exception):
        self._restore()


def train(session, train_op, first, last, callbacks, interruption):
    """Does the updates `first` to `last` - 1, or up to an interruption; returns whether all of them were done.

    At each step the callbacks say what they want to see of it (`fetches`) and get it (`after_step`), in their order.
    """
    for step in range(first, last):
        wanted = [callback.fetches(step) for callback in callbacks]
        _, seen = session.run([train_op, wanted])
        for callback, values in zip(callbacks, seen):
            callback.after_step(step, values)
        if interruption.signal:
            break
    complete = step == last - 1
    for callback in callbacks:
        callback.end(step, interrupted=not complete)
    return complete
