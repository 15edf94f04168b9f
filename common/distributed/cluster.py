"""Which processes train together: their addresses, and which of them this one is. TensorFlow is not imported here."""

import dataclasses
import json
import math
import os
import re

TIMEOUT_SECONDS = 600.0
JOB = "worker"
_ADDRESS = re.compile(r"([A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
_LAST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Processes that train one set of weights, on one machine or on many.

    Attributes:
      workers: "host:port" of each; the first is the chief's. Empty for a process on its own.
      index: which of them this process is.
      timeout: seconds after which a call of a session fails whose collectives' peers do not come.
    """

    workers: tuple[str, ...] = ()
    index: int = 0
    timeout: float = TIMEOUT_SECONDS

    @property
    def count(self):
        """The number of processes."""
        return max(len(self.workers), 1)

    @property
    def is_chief(self):
        """Whether this process reads and writes the checkpoints and the log."""
        return self.index == 0

    @property
    def others(self):
        """{index: address} of the other processes."""
        return {index: address for index, address in enumerate(self.workers) if index != self.index}

    def name(self, index):
        """Returns what a worker is called in messages."""
        return f"worker {index} ({self.workers[index]})"

    def configure(self, config):
        """Adds to a `ConfigProto` what a session needs: who matches the collectives, and whose devices it sees."""
        if self.count == 1:
            config.experimental.collective_group_leader = "/job:localhost/replica:0/task:0"
        else:
            config.experimental.collective_group_leader = f"/job:{JOB}/replica:0/task:0"
            config.device_filters.append(f"/job:{JOB}/task:{self.index}")
            config.operation_timeout_in_ms = max(1, math.ceil(1000 * self.timeout))  # of a session's call; 0 is none
        return config


ALONE = Cluster()


def find(worker_hosts=None, task_index=None, timeout=TIMEOUT_SECONDS):
    """Returns the `Cluster` that the flags or the environment variable TF_CONFIG describe, `ALONE` without either.

    Args:
      worker_hosts: "host:port,host:port,..." or None.
      task_index: which of them this process is, counted from 0, or None.
      timeout: seconds of a collective.

    Of TF_CONFIG the jobs "worker" and "chief" count, the chief's process being worker 0. One worker is `ALONE`.
    Raises ValueError, one line, if a description is incomplete or malformed, or if both are there and differ.
    """
    flags = _from_flags(worker_hosts, task_index)
    environment = _from_environment()
    if flags and environment and flags != environment:
        raise ValueError(
            f"--worker_hosts={worker_hosts} --task_index={task_index} and TF_CONFIG (worker {environment[1]} of "
            f"{','.join(environment[0])}) disagree: leave one of them out"
        )
    workers, index = flags or environment or ((), 0)
    return Cluster(workers, index, timeout) if len(workers) > 1 else Cluster(timeout=timeout)


def _from_flags(worker_hosts, task_index):
    if worker_hosts is None and task_index is None:
        return None
    if worker_hosts is None:
        raise ValueError(f"--task_index={task_index} needs --worker_hosts=HOST:PORT,...: all workers, in order")
    workers = tuple(address.strip() for address in worker_hosts.split(","))
    _check_addresses(f"--worker_hosts={worker_hosts}", workers)
    if task_index is None:
        raise ValueError("--worker_hosts needs --task_index=I: which of them this process is, counted from 0")
    if not 0 <= task_index < len(workers):
        raise ValueError(
            f"--task_index={task_index}: expected 0 to {len(workers) - 1}, as --worker_hosts names {len(workers)} "
            "workers"
        )
    return workers, task_index


def _from_environment():
    """Returns (workers, index) that TF_CONFIG gives, or None if it names no cluster."""
    try:
        config = _object("TF_CONFIG", json.loads(os.environ.get("TF_CONFIG", "").strip() or "{}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"TF_CONFIG is no JSON ({error}); {_EXAMPLE}") from None
    if config.get("sparseCluster"):
        raise ValueError(f"TF_CONFIG has a sparseCluster: each worker has to know the addresses of all; {_EXAMPLE}")
    cluster, task = (_object(f"TF_CONFIG's {name}", config.get(name)) for name in ("cluster", "task"))
    jobs = {kind: found for kind, addresses in cluster.items() if (found := _in_order(kind, addresses))}
    others = sorted(set(jobs) - {"chief", JOB})
    if others:
        raise ValueError(f"TF_CONFIG has the job {others[0]!r}: here each process is a {JOB!r}, the first is the chief")
    chiefs = jobs.get("chief", ())
    if len(chiefs) > 1:
        raise ValueError(f"TF_CONFIG has {len(chiefs)} chiefs, expected one at most")
    workers = chiefs + jobs.get(JOB, ())
    if not workers:
        return None
    _check_addresses("TF_CONFIG", workers)
    kind, index = task.get("type"), task.get("index")
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if type(index) is not int or kind not in list(jobs) or not 0 <= index < len(jobs[kind]):
        raise ValueError(f"TF_CONFIG has no task {kind!r} {index!r} in its cluster of {len(workers)}; {_EXAMPLE}")
    return workers, index + (len(chiefs) if kind == JOB else 0)


_EXAMPLE = (
    'expected as in {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}; '
    "unset it for a process on its own"
)


def _object(name, value):
    """Returns a JSON object, {} for null."""
    if not isinstance(value, dict | None):
        raise ValueError(f"{name} is {json.dumps(value)}, expected an object; {_EXAMPLE}")
    return value or {}


def _in_order(kind, addresses):
    """Returns the addresses of a job, a list or {number: address}, as a tuple; blanks around them are left out."""
    if isinstance(addresses, dict):
        numbers = [str(number) for number in range(len(addresses))]
        missing = [number for number in numbers if number not in addresses]
        if missing:
            found = ", ".join(addresses)
            raise ValueError(f"TF_CONFIG has no address for {kind} {missing[0]}, but for {found}; {_EXAMPLE}")
        addresses = [addresses[number] for number in numbers]
    if not isinstance(addresses, list | None):
        raise ValueError(f"TF_CONFIG's {kind} is {json.dumps(addresses)}, expected a list of addresses; {_EXAMPLE}")
    return tuple(address.strip() if isinstance(address, str) else address for address in addresses or ())


def _check_addresses(where, workers):
    for index, address in enumerate(workers):
        match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if not match or not 1 <= int(match.group(2)) <= _LAST_PORT:
            wanted = f"expected HOST:PORT with a port of 1 to {_LAST_PORT}"
            raise ValueError(f"{where}: {address!r} is no address of worker {index}; {wanted}")
    twice = sorted({address for address in workers if workers.count(address) > 1})
    if twice:
        raise ValueError(f"{where}: {twice[0]} is there twice; each worker needs an address of its own")
