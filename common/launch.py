"""Starts the workers of a cluster on this machine: several processes of one program, each with its TF_CONFIG.

    python -m common.launch --workers=2 -- python opt_hr/train.py --data=digits

What follows `--` is the command. Every line of worker i's output comes behind `[i] `. All end together: when one fails,
the others have --grace seconds, then SIGTERM, and as many seconds later SIGKILL. The exit status is that of the worker
that failed first, 128 + signal if a signal ended it or this program. With --max_restarts=N all of them are started
again after a failure, at most N times, with --resume: they go on from the newest checkpoint in their --train_path.

TensorFlow is not imported here.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import sys

from absl import flags as absl_flags

from common import flags
from common.command import run_with_flags
from common.console import one_line
from common.distributed.orphans import Guard
from common.distributed.processes import Signals, Workers, described

_OWN_FLAGS = ("worker_hosts", "task_index")


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the launcher."""

    workers: int = flags.option(1, "processes to start", minimum=1)
    max_restarts: int = flags.option(0, "times that all are started again after a failure, with --resume", minimum=0)
    grace: float = flags.option(30.0, "seconds that workers have to end before SIGTERM, and before SIGKILL", above=0)
    gpus_per_worker: int | None = flags.option(None, "GPUs of each worker; left out, each sees all of them", minimum=1)


def main():
    """Runs the launcher with the flags of the command line and ends the process."""
    flags.define(Settings)
    hint = "" if "--" in sys.argv else "; the command to launch follows a --"
    run_with_flags(_run, hint)


def _run(arguments):
    try:
        return run(flags.read(Settings), arguments[1:], os.environ)
    except (ValueError, OSError, absl_flags.Error) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1


def run(settings, command, environment):
    """Runs a command as `settings.workers` processes; returns the exit status.

    Args:
      settings: `Settings`.
      command: a list of words.
      environment: that of this process; each worker gets it with a few variables more.

    Raises ValueError if it cannot be run.
    """
    check(settings, command, environment)
    with contextlib.closing(Guard()) as guard, Signals() as signals:
        for attempt in range(settings.max_restarts + 1):
            failed = _attempt(settings, command, environment, guard, signals)
            if signals.came and failed:
                return 128 + signals.came[0]
            if not failed or attempt == settings.max_restarts:
                break
            index, status = failed
            _say(
                f"RESTART {attempt + 1} OF {settings.max_restarts}: worker {index} ended with {described(status)}; "
                "all start again with --resume"
            )
            if "--resume" not in command:
                command = [*command, "--resume"]
    return failed[1] if failed else 0


def _attempt(settings, command, environment, guard, signals):
    """Starts all workers and waits for all; returns (index, status) of the one that failed first, or None."""
    with reserved(settings.workers) as ports:
        environments = [environment_of(index, ports, settings, environment) for index in range(settings.workers)]
        with contextlib.closing(Workers(command, environments, guard)) as workers:
            return workers.wait(signals, settings.grace, _say)


def check(settings, command, environment):
    """Raises ValueError, in one line, for what cannot be launched; before anything is started."""
    if not command:
        raise ValueError("there is no command: write it after --, as in --workers=2 -- python opt_hr/train.py")
    if shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]}: there is no such command; write for example {sys.executable} in its place")
    if "TF_CONFIG" in environment:
        raise ValueError("TF_CONFIG is set: this is a worker of a cluster already; unset it, or leave the launcher out")
    words = absl_flags.FlagValues().read_flags_from_files(command)
    for name in _OWN_FLAGS:
        if _has(words, name):
            raise ValueError(f"--{name}: the launcher says itself who the workers are; leave it out")
    if settings.max_restarts and not _has(words, "train_path"):
        raise ValueError(
            f"--max_restarts={settings.max_restarts} needs --train_path=FOLDER in the command: that is where a restart "
            "finds the newest checkpoint"
        )
    if settings.gpus_per_worker and _has(words, "visible_devices", "gpu_no"):
        raise ValueError("--gpus_per_worker chooses the GPUs of each worker; leave --visible_devices out, or it")
    gpus_of(settings.workers - 1, settings, environment)


def _has(words, *names):
    """Whether one of the flags is among the words of a command."""
    return any(word.lstrip("-").partition("=")[0] in names for word in words if word.startswith("-"))


def environment_of(index, ports, settings, environment):
    """Returns the environment of worker `index`: the given one, its TF_CONFIG, and what it does not say itself."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    own = {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})}
    if settings.gpus_per_worker:
        own["CUDA_VISIBLE_DEVICES"] = gpus_of(index, settings, environment)
    unbuffered = {"PYTHONUNBUFFERED": "1"}  # into a pipe Python would write blocks, and lines would come late
    return {**unbuffered, **environment, **own}


def gpus_of(index, settings, environment):
    """Returns CUDA_VISIBLE_DEVICES of worker `index`: its share of those that are visible here, or their numbers.

    Raises ValueError if fewer are visible than all workers need.
    """
    if not settings.gpus_per_worker:
        return None
    wanted = settings.workers * settings.gpus_per_worker
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(wanted)] if visible is None else visible.split(",")
    if len(names) < wanted:
        raise ValueError(
            f"--gpus_per_worker={settings.gpus_per_worker}: {settings.workers} workers need {wanted} GPUs, and "
            f"CUDA_VISIBLE_DEVICES={visible} names fewer"
        )
    first = index * settings.gpus_per_worker
    return ",".join(names[first : first + settings.gpus_per_worker])


@contextlib.contextmanager
def reserved(count):
    """Yields `count` ports that are free on all interfaces, as TensorFlow's server wants them, and keeps others away.

    A socket stays bound to each, without listening, and may share its address: TensorFlow's server, which asks for
    that as well, can still bind and listen there, but neither an outgoing connection nor a program that asks for any
    free port gets it. What remains is a program that insists on just this number, within the seconds until the server
    listens; the worker then ends with an error, and --max_restarts tries other ports.
    """
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("", 0))
        yield [one.getsockname()[1] for one in held]


def _say(line):
    print(f"launch: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
