"""The other processes of a cluster: meeting them, having the chief's variables, losing one, and ending together.

The copies of the variables on several devices of one process are kept equal here too.
"""

import contextlib
import time

import numpy as np

from common.compat import tf
from common.console import one_line, say
from common.distributed import collectives, consistency, liveness
from common.distributed.cluster import JOB
from common.distributed.collectives import Kind
from common.graph import variables

_POLLS, _PAUSE = 4, 1.0  # of the other processes, and seconds between: the address of one that ends answers for a while
_LINGER = 10.0  # seconds for which a process that gives up stays there, lest others take it for the one at fault
_FLUSH = 0.5  # seconds for what the others have still to fetch from this one


class PeerLost(Exception):
    """Another process is gone; the message is one line. This process cannot use its collectives any more."""


def server(cluster, config):
    """Starts TensorFlow's server of this process; ValueError if it cannot listen on its port."""
    try:
        return tf.distribute.Server({JOB: list(cluster.workers)}, JOB, cluster.index, config=config)
    except (tf.errors.OpError, RuntimeError) as error:
        raise ValueError(
            f"{cluster.name(cluster.index)} cannot listen on its port ({one_line(error)}): another process has it, or "
            "an earlier run is still ending there; free it, or choose another port"
        ) from None


class Peers:
    """The other processes that train with this one; none if the cluster has but one.

    Args:
      cluster: a `Cluster`.

    Attributes:
      target: of sessions: TensorFlow's server of this process, or "" for none.
    """

    def __init__(self, cluster):
        self._cluster, self._others, self._server, self.target = cluster, cluster.others, None, ""

    def rendezvous(self, config, seconds, items):
        """Starts the server, waits for the others, and checks that all are about to do the same.

        Args:
          config: a `ConfigProto`.
          seconds: for which a process waits for the others to start.
          items: see `consistency.items`.

        Raises ValueError in all processes, naming those at fault, if one does not start or is to do something else.
        """
        cluster = self._cluster
        if cluster.count == 1:
            return
        self._server = server(cluster, config)
        self.target = self._server.target
        missing = liveness.wait_for(self._others, seconds, lambda missing: say(f"waits for {self._names(missing)}"))
        if missing:
            time.sleep(_LINGER)
            raise ValueError(
                f"not there within {seconds:g} s (--start_timeout): {self._names(missing)}; start all workers, and see "
                "what these have said if they were"
            )
        rows = np.zeros([cluster.count, consistency.SLOTS], np.int64)
        rows[cluster.index] = consistency.row(items)
        with tf.Graph().as_default(), tf.Session(self.target, config=config) as session, self.watched(session):
            rows = session.run(collectives.summed(tf.constant(rows), cluster, Kind.CHECK))
        difference = consistency.difference(rows, items, cluster.name)
        if difference:
            time.sleep(_FLUSH)
            raise ValueError(difference)

    def prepare(self):
        """Builds what the methods below run; call it when all variables are there, before the graph is finalised."""
        own = {variable.op.name: variable for variable in variables.saved()}
        self._copies = tf.group(
            *[
                copy.assign(own[variables.bare_name(copy.op.name)].read_value(), read_value=False)
                for copy in tf.global_variables()
                if variables.replica_of(copy)
            ]
        )
        if self._cluster.count > 1:
            self._broadcast = collectives.broadcast(variables.saved(), self._cluster)
            self._barrier = collectives.summed(tf.zeros([]), self._cluster, Kind.BARRIER)

    def broadcast(self, session):
        """Gives all variables that are saved the values of the chief's replica 0, on all replicas of all processes."""
        if self._cluster.count > 1:
            session.run(self._broadcast)
        session.run(self._copies)

    def barrier(self, session):
        """Returns when all processes have got here; what the chief had to save is saved then."""
        if self._cluster.count == 1:
            return
        with contextlib.suppress(tf.errors.OpError) if self._cluster.is_chief else self.watched(session):
            session.run(self._barrier)
        time.sleep(_FLUSH)

    @contextlib.contextmanager
    def watched(self, session, rescue=None):
        """Within it an error of TensorFlow's becomes a `PeerLost` that names the processes at fault.

        Args:
          session: what runs within; a `liveness.watchdog` may close it.
          rescue: `rescue(fault)` saves what can be saved, in another session, and returns what to say about that.
        """
        if self._cluster.count == 1:
            yield
            return
        error = None
        try:
            with liveness.watchdog(session, self._others) as closed:
                yield
        except (tf.errors.OpError, RuntimeError) as caught:  # a closed session raises RuntimeError
            if not isinstance(caught, tf.errors.OpError) and not closed.is_set():
                raise
            error = caught
        # The body may have taken the closed session for an error of its own, or not have noticed.
        if error or closed.is_set():
            self._give_up(error, rescue)

    def _give_up(self, error, rescue):
        begin = time.monotonic()
        told = fault = self._fault(error)
        if rescue:
            try:
                told += f"; {rescue(fault)}"
            except Exception as failure:  # whatever it is, the fault that it began with is to be told
                told += f"; nothing could be saved ({one_line(failure)})"
        if self._cluster.count > 2:
            time.sleep(max(0.0, _LINGER - (time.monotonic() - begin)))
        raise PeerLost(told) from error

    def _fault(self, error):
        """Returns which processes do not answer, and how."""
        for attempt in range(_POLLS):
            time.sleep(_PAUSE if attempt else 0.0)
            found = liveness.poll_all(self._others)
            bad = {index: what for index, what in found.items() if what != liveness.ANSWERS}
            # A process that is stopped makes others end, after the timeout, and not the other way round.
            bad = {index: what for index, what in bad.items() if what != liveness.GONE} or bad
            if bad:
                return "; ".join(f"{self._cluster.name(index)} {what}" for index, what in bad.items())
        otherwise = one_line(error) if error else "one had ended, and listens again"
        return f"the exchange with the other workers failed, though all of them answer: {otherwise}"

    def _names(self, indices):
        return ", ".join(map(self._cluster.name, indices))
