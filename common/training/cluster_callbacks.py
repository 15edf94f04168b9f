"""When the copies of the variables on all replicas have to be equal."""

from common.training.callbacks import Periodic


class Alignment(Periodic):
    """Gives all replicas the variables of replica 0 before each checkpoint of the run.

    They have them already if all devices compute alike. But each replica pulls gradients back through the maps by
    itself (see exchange.py), and devices of two kinds, or a library that adds in varying order, may round that
    differently, after which nothing would bring the copies together. A run that goes on from the checkpoint begins
    with equal copies as well, so it stays the same run.
    """

    def __init__(self, peers, session, frequency, last):
        super().__init__(frequency, last, {})
        self._peers, self._session = peers, session

    def act(self, step, values):
        self._peers.share_variables(self._session)
