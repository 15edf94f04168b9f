"""Real processes on loopback, started as a user starts them."""

import itertools
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import time

from common.distributed.processes import end_with

ROOT = pathlib.Path(__file__).resolve().parents[3]
TINY = ("--data=synthetic", "--rotation=none", "--widths=4,4,4,4", "--batch_size=8", "--base_lr=0.01", "--device=cpu")
_PORTS = range(20000, 32000)  # below those that systems give away themselves
PATIENCE = 300.0  # seconds for what takes some: the machine may be busy


def free_addresses(count):
    """Returns addresses of ports that are free now, and that nobody gets who asks the system for any port."""
    ports = random.SystemRandom().sample(_PORTS, 10 * count)
    free = (port for port in ports if _is_free(port))
    return [f"127.0.0.1:{port}" for port in itertools.islice(free, count)]


def _is_free(port):
    try:
        socket.create_server(("", port)).close()  # on all interfaces, as TensorFlow's server wants it
    except OSError:
        return False
    return True


def started(command, **options):
    """Starts a process that ends with this one, however this one ends."""
    parent = os.getpid()
    return subprocess.Popen(command, preexec_fn=lambda: end_with(parent), **options)


class Workers:
    """Processes of one training; within it they run, at its end none is left.

    Args:
      folder: where their output goes.
      count: how many of them there are.
      flags: of all of them.
      of: {index: flags} of one more.
    """

    def __init__(self, folder, count, *flags, of=None):
        self.addresses = free_addresses(count)
        self._folder, self.processes = folder, {}
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        for index in range(count):
            place = [f"--worker_hosts={','.join(self.addresses)}", f"--task_index={index}"] if count > 1 else []
            command = [sys.executable, ROOT / "opt_gs" / "train.py", *TINY, *flags, *place, *(of or {}).get(index, ())]
            with open(folder / f"worker{index}.txt", "w") as output:
                self.processes[index] = started(
                    command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environment
                )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def name(self, index):
        return f"worker {index} ({self.addresses[index]})"

    def output(self, index):
        return (self._folder / f"worker{index}.txt").read_text()

    def errors(self, index):
        """The lines of a worker's output that are errors, without their beginning."""
        return re.findall(r"^error: (.*)$", self.output(index), re.MULTILINE)

    def wait_for(self, text, index=0):
        """Returns when a worker has written a text."""
        end = time.monotonic() + PATIENCE
        while text not in self.output(index):
            assert self.processes[index].poll() is None, self.output(index)
            assert time.monotonic() < end, self.output(index)
            time.sleep(0.05)

    def statuses(self):
        """Returns {index: exit status} when all have ended."""
        return {index: process.wait(PATIENCE) for index, process in self.processes.items()}
