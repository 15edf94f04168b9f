"""The other processes of a cluster: meeting them, being told the same by the chief, losing one, and parting.

What concerns all copies of the variables holds for the devices of one process too.
"""

import contextlib
import time

import numpy as np

from common.compat import tf
from common.console import one_line, say
from common.distributed import collectives, consistency, liveness
from common.distributed.collectives import Kind
from common.distributed.lookout import Lookout
from common.graph import variables

_WORDS = {
    liveness.GONE: "has ended: nothing listens at its address",
    liveness.FROZEN: "does not answer: it is stopped, or hangs",
    liveness.UNREACHABLE: "cannot be reached: its machine is down, or the network is",
}
_LOOKS, _PAUSE = 4, 1.0  # at the other processes, and seconds between: one that ends is there for a while yet
_LINGER = 10.0  # seconds for which a process that gives up stays there, lest others take it for the one at fault
_FLUSH = 0.5  # seconds for what the others have still to fetch from this one


class PeerLost(Exception):
    """Another process is gone; the message is one line. This process cannot use its collectives any more."""


class Peers:
    """The other processes that train with this one; none if the cluster has but one.

    Args:
      cluster: a `Cluster`.

    Attributes:
      target: of sessions: TensorFlow's server of this process, or "" for none.
    """

    def __init__(self, cluster):
        self._cluster = cluster
        self._server, self.target = None, ""

    @property
    def is_chief(self):
        """Whether this process is the chief."""
        return self._cluster.is_chief

    @property
    def chief(self):
        """What the chief is called."""
        return self._cluster.name(0)

    def meet(self, config, seconds, common, flags):
        """Starts the server, waits for the others, and compares what each is about to do.

        Args:
          config: a `ConfigProto`.
          seconds: for which a process waits for the others to start.
          common, flags: see `consistency.items`.

        Raises ValueError in all processes, naming those at fault, if one does not start or is to do something else.
        """
        cluster = self._cluster
        if cluster.count == 1:
            return
        self._server = cluster.server(config)
        self.target = self._server.target
        missing = liveness.wait_for(self._others(), seconds, lambda missing: say(f"waits for {self._names(missing)}"))
        if missing:
            time.sleep(_LINGER)
            raise ValueError(
                f"not there within {seconds:g} s (--start_timeout): {self._names(missing)}; start all workers, and see "
                "what these have said if they were"
            )
        rows = np.zeros([cluster.count, consistency.SLOTS], np.int64)
        rows[cluster.index] = consistency.row(common, flags)
        with tf.Graph().as_default(), self.watched():
            # The last to see all others sees them `seconds` later than the first.
            total = collectives.Sum(cluster, Kind.DIGEST, rows.shape, tf.int64, seconds + cluster.timeout)
            with tf.Session(self.target, config=config) as session:
                rows = total(session, rows)
        difference = consistency.difference(rows, common, flags, cluster.name)
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
        if self._cluster.count == 1:
            return
        self._spread = collectives.spread(variables.saved(), self._cluster)
        self._beginning = collectives.Sum(self._cluster, Kind.BEGINNING, [], tf.int64)
        self._end = collectives.Sum(self._cluster, Kind.END, [], tf.float32)

    def share_variables(self, session):
        """Gives all variables that are saved the values of replica 0, on all replicas of all processes."""
        if self._cluster.count > 1:
            session.run(self._spread)
        session.run(self._copies)

    def begin(self, session, allowed):
        """Returns in every process whether the chief is `allowed` to go on."""
        if self._cluster.count == 1:
            return allowed
        with self.watched():
            return bool(self._beginning(session, np.int64(allowed and self._cluster.is_chief)))

    def part(self, session):
        """Returns when the chief has got here too: what it had to save is saved then."""
        if self._cluster.count == 1:
            return
        with self.watched() if not self._cluster.is_chief else contextlib.suppress(tf.errors.OpError):
            self._end(session, 0.0)
        time.sleep(_FLUSH)

    @contextlib.contextmanager
    def watched(self, rescue=None, session=None):
        """Within it an error of TensorFlow's becomes a `PeerLost` that names the processes at fault.

        Args:
          rescue: `rescue(fault)` saves what can be saved, and returns what to say about that.
          session: is closed as soon as another process has ended, see `Lookout`; `rescue` needs one of its own.
        """
        if self._cluster.count == 1:
            yield
            return
        lookout, error = Lookout(session, self._neighbours() if session else {}), None
        try:
            with lookout:
                yield
        except (tf.errors.OpError, RuntimeError) as caught:
            # A RuntimeError if the session was closed before a call, not in it.
            if not (isinstance(caught, tf.errors.OpError) or lookout.found):
                raise
            error = caught
        # The body may have taken the closed session for an error of its own, or not have noticed.
        if error or lookout.found:
            self._give_up(error, rescue)

    def _give_up(self, error, rescue):
        fault, begin = self._fault(error), time.monotonic()
        told = f"{fault}; {_rescued(rescue, fault)}" if rescue else fault
        if self._cluster.count > 2:
            time.sleep(max(0.0, _LINGER - (time.monotonic() - begin)))
        raise PeerLost(told) from error

    def _others(self):
        return {index: self._cluster.workers[index] for index in self._cluster.others}

    def _names(self, indices):
        return ", ".join(map(self._cluster.name, indices))

    def _neighbours(self):
        """The others, the next one first."""
        after = {index: address for index, address in self._others().items() if index > self._cluster.index}
        return after | self._others()

    def _fault(self, error):
        otherwise = one_line(error) if error else "one had ended, and listens again"
        for attempt in range(_LOOKS):
            found = liveness.look_at(self._others())
            bad = {index: what for index, what in found.items() if what in _WORDS}
            # What is stopped makes others end, after the timeout, and not the other way round.
            bad = {index: what for index, what in bad.items() if what != liveness.GONE} or bad
            at_fault = [f"{self._cluster.name(index)} {_WORDS[what]}" for index, what in bad.items()]
            if at_fault:
                return "; ".join(at_fault)
            if attempt < _LOOKS - 1:
                time.sleep(_PAUSE)
        return f"the exchange with the other workers failed, though all of them answer: {otherwise}"


def _rescued(rescue, fault):
    try:
        return rescue(fault)
    except Exception as error:  # whatever it is, the fault that it began with is to be told
        return f"nothing could be saved ({one_line(error)})"
