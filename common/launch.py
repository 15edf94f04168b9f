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
import socket

from common import flags
from common.command import main as command_main
from common.command import with_flag_files
from common.console import complain
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
    command_main(Settings, lambda words, settings: run(settings, words, os.environ, noted_signals()), gnu=False)


def run(settings, command, environment, signals=()):
    """Runs a command (a list of words) as `settings.workers` processes; returns the exit status.

    Each worker gets `environment` with its TF_CONFIG; `signals` is the list of `noted_signals`. Raises ValueError or
    OSError, before anything is started, for a command that cannot be launched.
    """
    check(settings, command, environment)
    for attempt in range(settings.max_restarts + 1):
        if attempt:
            complain(f"launch: RESTART {attempt} OF {settings.max_restarts}: all start again with --resume")
            command = command if "--resume" in command else [*command, "--resume"]
        with reserved(settings.workers) as ports:
            environments = [environment_of(index, ports, settings, environment) for index in range(len(ports))]
            status = run_together(command, environments, settings.grace, signals)
        if not status or signals:
            break
    return 128 + signals[0] if signals and status else status


def check(settings, command, environment):
    """Raises ValueError, in one line, for what cannot be launched."""
    if not command:
        raise ValueError("there is no command: write it after --, as in --workers=2 -- python opt_hr/train.py")
    if environment.get("TF_CONFIG", "").strip():
        raise ValueError("TF_CONFIG is set: this is a worker of a cluster already; unset it, or leave the launcher out")
    given = {word.lstrip("-").partition("=")[0] for word in with_flag_files(command) if word.startswith("-")}
    if settings.max_restarts and "train_path" not in given:
        raise ValueError(
            f"--max_restarts={settings.max_restarts} needs --train_path=FOLDER in the command: that is where a restart "
            "finds the newest checkpoint"
        )
    if settings.gpus_per_worker and given & {"visible_devices", "gpu_no"}:
        raise ValueError("--gpus_per_worker chooses the GPUs of each worker; leave --visible_devices out, or it")


def environment_of(index, ports, settings, environment):
    """Returns the environment of worker `index`: the given one with its TF_CONFIG and, if asked for, its GPUs.

    Raises ValueError if there are not enough of these.
    """
    hosts = [f"127.0.0.1:{port}" for port in ports]
    own = {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})}
    share, visible = settings.gpus_per_worker, environment.get("CUDA_VISIBLE_DEVICES")
    if share:
        wanted = share * settings.workers
        names = [str(number) for number in range(wanted)] if visible is None else visible.split(",")
        if len(names) < wanted:
            raise ValueError(
                f"--gpus_per_worker={share}: {settings.workers} workers need {wanted} GPUs, and "
                f"CUDA_VISIBLE_DEVICES={visible} names fewer"
            )
        own["CUDA_VISIBLE_DEVICES"] = ",".join(names[index * share : (index + 1) * share])
    unbuffered = {"PYTHONUNBUFFERED": "1"}  # into a pipe Python would write blocks, and lines would come late
    return {**unbuffered, **environment, **own}


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


if __name__ == "__main__":
    main()
