"""The folder of a run: log.txt, flags.txt, start.json, metrics.jsonl, the event files and the checkpoints."""

import contextlib
import json
import math
import os
import re
import shutil
import sys
import time

from common import files
from common.console import say
from common.files import FLAGS, LOG, METRICS, NONFINITE, SAVING, START
from common.runs import checkpoints, lock
from common.runs.events import FOLDER as EVENTS
from common.runs.events import Events

# What may lie in a folder in which a run begins: what a run that never reported leaves, and what systems put anywhere.
_HARMLESS = {LOG, START, EVENTS, lock.NAME, NONFINITE, "lost+found", ".DS_Store", "Thumbs.db", "desktop.ini"}
_HARMLESS_BEGINNINGS = (SAVING, ".nfs", f"{FLAGS}.", f"{METRICS}.", f"{START}.", f"{checkpoints.LIST}.tmp")


class RunFolder:
    """Where a run writes to: a folder that is there, and whose lock this process holds.

    Args:
      path: the folder.
      first: the first update that will be done there. Metrics of later ones, which a run that goes on from an earlier
        checkpoint does again, are dropped from metrics.jsonl.
      tensorboard: whether metrics go to event files too.

    Attributes:
      path: see above.
      kept: that something is written here.
      events: the `Events`, or None.

    Raises ValueError if it cannot be written to now. Later failures to write log.txt or metrics.jsonl are reported on
    standard error, and the lines are written when that is possible again.
    """

    kept = True

    def __init__(self, path, first=0, tensorboard=False):
        self.path = path
        self.events = Events(path, first) if tensorboard else None
        self._log, self._metrics = files.Appended(self.file(LOG)), files.Appended(self.file(METRICS))
        try:
            open(self.file(LOG), "a").close()
            self._measured = self._drop_from(first)
        except OSError as error:
            raise lock.unwritable(path, error) from None

    def _drop_from(self, first):
        """Returns {(step, split)} of the metrics that stay."""
        if not os.path.exists(self.file(METRICS)):
            return set()
        with open(self.file(METRICS), encoding="utf-8", errors="replace") as file:
            lines = [(_key(line), line) for line in file]
        kept = [(key, line) for key, line in lines if key and key[0] < first]
        unreadable = sum(key is None and not _is_torn(line) for key, line in lines)
        if unreadable:
            shutil.copy(self.file(METRICS), self.file(f"{METRICS}.damaged"))
            self.say(f"{unreadable} lines of {METRICS} cannot be read: the file as it was is {METRICS}.damaged")
        if len(kept) < len(lines):
            self.write(METRICS, "".join(line for _, line in kept))
        return {key for key, _ in kept}

    def file(self, name):
        """Returns the path of a file in the folder."""
        return os.path.join(self.path, name)

    def say(self, line):
        """Writes a line to log.txt and, above the progress bar, to the terminal."""
        self.note(line)
        say(line)

    def note(self, line):
        """Writes a line to log.txt alone."""
        self._log.add(line)

    def measure(self, step, split, **metrics):
        """Appends one JSON object to metrics.jsonl; a number that is not finite, which JSON does not know, is null."""
        self._metrics.add(json.dumps(_finite({"step": step, "split": split, **metrics})))
        if self.events:
            self.events.scalars(step, split, metrics)

    def add(self, name, entry):
        """Appends one JSON object to the file `name`."""
        files.Appended(self.file(name)).add(json.dumps(entry))

    def measured_before(self, step, split):
        """Returns whether metrics.jsonl held the metrics of a step and split when the run went on."""
        return (step, split) in self._measured

    def write(self, name, text):
        """Writes a small file, whole or not at all."""
        files.replace(self.file(name), text)

    def sync(self):
        """Brings log and metrics to the disk: a checkpoint is not to be there without those of its steps."""
        self._log.sync()
        self._metrics.sync()


class Elsewhere:
    """What a process that is not the chief has in place of a `RunFolder`: it writes nothing, and is silent.

    Args:
      whose: name of the process that has the folder.
    """

    kept = False

    def __init__(self, whose):
        self.path = f"the run folder of {whose}"

    def file(self, name):
        """Returns how a file of the folder is called in a message."""
        return f"{name} in {self.path}"

    def say(self, line):
        pass

    def note(self, line):
        pass

    def add(self, name, entry):
        pass


def _is_torn(line):
    """Returns whether a kill may have cut off a line of metrics.jsonl."""
    return line.startswith("{") and not line.endswith("\n")


def _key(line):
    """Returns (step, split) of a line of metrics.jsonl, or None if the line is torn or something else."""
    try:
        entry = json.loads(line) if line.endswith("\n") else {}
        return int(entry["step"]), str(entry["split"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def last_measured(path, name, step):
    """Returns the metrics called `name`, {layer: number}, of the last line of metrics.jsonl up to `step` that has them.

    Args:
      path: of a folder; without a metrics.jsonl in it there are none.
      name: of the metrics.
      step: the last one that counts.
    """
    found = {}
    path = os.path.join(path, METRICS)
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key = _key(line)
            metrics = json.loads(line).get(name) if key and key[0] <= step else None
            found = metrics if isinstance(metrics, dict) else found
    return {key: value for key, value in found.items() if isinstance(value, float)}


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def holds_run(path):
    """Returns whether a folder holds metrics or checkpoints of a run."""
    metrics = os.path.join(path, METRICS)
    return os.path.isfile(metrics) and os.path.getsize(metrics) > 0 or bool(checkpoints.listed(path))


def has_saved(path):
    """Returns whether the log of a run folder says that a checkpoint was saved there."""
    with contextlib.suppress(OSError), open(os.path.join(path, LOG), encoding="utf-8", errors="replace") as log:
        return any(re.search(rf"^step \d+, saved .*{checkpoints.NAME}-\d+$", line) for line in log)
    return False


def check_unused(path):
    """Raises ValueError for a folder that is there, holds something, and is no run folder.

    What a run that ended before its first report has left does not count, nor what systems put into folders, nor a
    file that takes this process's own output.
    """
    if holds_run(path) or os.path.exists(os.path.join(path, FLAGS)) or not os.path.isdir(path):
        return
    others = [name for name in os.listdir(path) if name not in _HARMLESS and not name.startswith(_HARMLESS_BEGINNINGS)]
    others = sorted(name for name in others if not _is_output(os.path.join(path, name)))
    if others:
        raise ValueError(
            f"--train_path={path} is there, holds {others[0]}{' and more' if others[1:] else ''} and is no run folder; "
            "name a new folder, an empty one, or that of a run"
        )


def _is_output(path):
    """Returns whether a file takes this process's standard output or error."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return True
        except (AttributeError, OSError, ValueError):
            pass  # closed, or gone
    return False


def new_path(train_dir, *words):
    """Returns train_dir/WORDS_TIMESTAMP, words and time of now joined by underscores."""
    return os.path.join(train_dir, "_".join([*words, time.strftime("%Y-%m-%d_%H-%M-%S")]))
