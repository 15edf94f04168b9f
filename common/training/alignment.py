"""When the copies of the variables on all replicas have to be equal, and how those that one replica owns become so."""

from common import exchange, variables
from common.compat import tf
from common.training.callbacks import Callback, Periodic


def gathering(cluster):
    """Returns an operation that gives all replicas the newest values of what one of them owns (`variables.owner_of`).

    That is slots too. All processes of the cluster have to run it after the same step. None if nobody owns anything.
    """
    copies = {}  # {bare name: the copies here, by their replica's number in this process}
    for copy in sorted(tf.global_variables(), key=variables.replica_of):
        if variables.owner_of(copy) is not None:
            copies.setdefault(variables.bare_name(copy.op.name), []).append(copy)
    if not copies:
        return None
    here = len(next(iter(copies.values())))
    source, sent = {}, [[] for _ in range(cluster.count)]
    for name, same in copies.items():
        process, number = divmod(variables.owner_of(same[0]), here)
        source[name] = same[number if process == cluster.index else 0]  # where the newest value is, or arrives
        sent[process].append(source[name])
    last = []
    for process, members in enumerate(sent if cluster.count > 1 else []):
        with tf.control_dependencies(last):
            last = [exchange.spread(members, cluster, process)]
    with tf.control_dependencies(last):
        values = {name: source[name].read_value() for name in copies}
    pairs = [(copy, values[name]) for name, same in copies.items() for copy in same if copy is not source[name]]
    return tf.group(*last, *[copy.assign(value, read_value=False) for copy, value in pairs])


class Gather(Callback):
    """Gathers the generators that one replica owns (`Peers.gather`) before anything but the training step reads them.

    That is where a validation or a checkpoint is due, for each of the frequencies, and where the run is interrupted.
    """

    def __init__(self, peers, session, frequencies, last):
        self._peers, self._session, self._frequencies, self._last = peers, session, frequencies, last

    def after_step(self, step, values):
        if step == self._last or any((step + 1) % frequency == 0 for frequency in self._frequencies):
            self._peers.gather(self._session)

    def end(self, step, interrupted):
        if interrupted:
            self._peers.gather(self._session)


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
