"""Looking out for the end of other processes while a session runs.

A collective operation fails at once in a process that waits for something from the one that ended, and in those that
wait for something from such a one. A process that only has something to give is told nothing: in TensorFlow's ring that
is one whose neighbour ended, if the sum is small enough for its own part of it to be empty.
"""

import threading
import time

from common.distributed import liveness

_PERIOD, _CONFIRM = 2.0, 0.5  # seconds between two rounds, and between two looks at what seems to be gone
_AT_MOST = 64  # processes looked at; those behind them find out from one another


class Lookout:
    """Closes a session, which ends what it runs, when another process has ended: when nothing listens at its address.

    A process that is stopped or hangs, or a network that is down, is left to the timeout: it may come back.

    Args:
      session: a `tf.Session`.
      addresses: {index: "host:port"} of the others, the next neighbour first; without any there is no thread.

    Attributes:
      found: whether one was gone.
    """

    def __init__(self, session, addresses):
        self._session, self._addresses = session, dict(list(addresses.items())[:_AT_MOST])
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lookout", daemon=True)
        self.found = False

    def __enter__(self):
        if self._addresses:
            self._thread.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        if self._addresses:
            self._thread.join()

    def _look(self):
        while not self._done.wait(_PERIOD):
            gone = self._gone(self._addresses)
            if not gone:
                continue
            time.sleep(_CONFIRM)
            if self._gone(gone) and not self._done.is_set():
                self.found = True
                self._session.close()
                return

    @staticmethod
    def _gone(addresses):
        found = liveness.look_at(addresses)
        return {index: address for index, address in addresses.items() if found[index] == liveness.GONE}
