"""Starts the workers of a cluster on this machine: several processes of one command, each with its TF_CONFIG.

    python -m common.launch --workers=2 -- python opt_hr/train.py --data=digits

Output of worker i stands behind `[i] `. When a worker fails, the others have --grace seconds to end, then SIGTERM, and
as many seconds later SIGKILL. With --max_restarts=N all start again after a failure, at most N times, with --resume.
The exit status is that of the worker that failed first (128 + number for a signal); after a signal to the launcher it
is 128 + that one's number. A second signal kills all workers at once. TensorFlow is not imported here.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import sys

from common import flags
from common.command import main as command_main
from common.command import with_flag_files
from common.distributed.processes import noted_signals, run_together


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the launcher."""

    workers: int = flags.option(1, "processes to start", minimum=1)
    max_restarts: int = flags.option(0, "times that all are started again after a failure, with --resume", minimum=0)
    grace: float = flags.option(30.0, "seconds that workers have to end before SIGTERM, and before SIGKILL", above=0)
    gpus_per_worker: int | None = flags.option(None, "GPUs of each worker; left out, each sees all of them", minimum=1)


def main():
    """Runs the launcher with the flags of the command line and ends the process."""
    command_main(Settings, lambda words, settings: run(settings, words, os.environ), gnu=False)


def run(settings, command, environment):
    """Runs a command (a list of words) as `settings.workers` processes; returns the exit status.

    Each worker gets `environment` with its TF_CONFIG. Raises ValueError or OSError, before anything is started, for a
    command that cannot be launched.
    """
    check(settings, command, environment)
    with noted_signals() as came:
        for attempt in range(settings.max_restarts + 1):
            with reserved(settings.workers) as ports:
                environments = [environment_of(index, ports, settings, environment) for index in range(len(ports))]
                failed = run_together(command, environments, settings.grace, came, _say)
            if not failed:
                return 0
            if came:
                return 128 + came[0]
            if attempt < settings.max_restarts:
                _say(f"RESTART {attempt + 1} OF {settings.max_restarts}: all start again with --resume")
                command = command if "--resume" in command else [*command, "--resume"]
    return failed[1]


def check(settings, command, environment):
    """Raises ValueError, in one line, for what cannot be launched."""
    if not command:
        raise ValueError("there is no command: write it after --, as in --workers=2 -- python opt_hr/train.py")
    if shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]}: there is no such command; write for example {sys.executable} in its place")
    if environment.get("TF_CONFIG", "").strip():
        raise ValueError("TF_CONFIG is set: this is a worker of a cluster already; unset it, or leave the launcher out")
    words = with_flag_files(command)
    given = {word.lstrip("-").partition("=")[0] for word in words if word.startswith("-")}
    for name in sorted(given & {"worker_hosts", "task_index"}):
        raise ValueError(f"--{name}: the launcher says itself who the workers are; leave it out")
    if settings.max_restarts and "train_path" not in given:
        raise ValueError(
            f"--max_restarts={settings.max_restarts} needs --train_path=FOLDER in the command: that is where a restart "
            "finds the newest checkpoint"
        )
    if settings.gpus_per_worker and given & {"visible_devices", "gpu_no"}:
        raise ValueError("--gpus_per_worker chooses the GPUs of each worker; leave --visible_devices out, or it")
    _gpus(settings.workers - 1, settings, environment)


def environment_of(index, ports, settings, environment):
    """Returns the environment of worker `index`: the given one with its TF_CONFIG and, if asked for, its GPUs."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    own = {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})}
    unbuffered = {"PYTHONUNBUFFERED": "1"}  # into a pipe Python would write blocks, and lines would come late
    return {**unbuffered, **environment, **own, **_gpus(index, settings, environment)}


def _gpus(index, settings, environment):
    """Returns {} or {"CUDA_VISIBLE_DEVICES": the share of worker `index`}; ValueError if fewer are visible."""
    share = settings.gpus_per_worker
    if not share:
        return {}
    wanted, visible = settings.workers * share, environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(wanted)] if visible is None else visible.split(",")
    if len(names) < wanted:
        raise ValueError(
            f"--gpus_per_worker={share}: {settings.workers} workers need {wanted} GPUs, and "
            f"CUDA_VISIBLE_DEVICES={visible} names fewer"
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[index * share : (index + 1) * share])}


@contextlib.contextmanager
def reserved(count):
    """Yields `count` free ports and keeps other programs away from them until TensorFlow's servers listen.

    A socket stays bound to each port without listening and may share its address, as TensorFlow's server asks for too:
    the server can bind, and no program that asks the system for any free port gets this one.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("", 0))
        yield [one.getsockname()[1] for one in sockets]


def _say(line):
    with contextlib.suppress(OSError, ValueError):  # standard error may be closed
        print(f"launch: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
