"""The folder of a run: log.txt, flags.txt, start.json, metrics.jsonl, the event files and the checkpoints."""

import json
import math
import os
import time

from common import files
from common.console import say
from common.files import LOG, METRICS
from common.runs.events import Events


class RunFolder:
    """Where a run writes to: a folder that is there, and whose lock this process holds.

    Args:
      path: the folder.
      first: the first update that will be done there. Figures of later ones, which a run that goes on from an earlier
        checkpoint does again, are dropped from metrics.jsonl.
      tensorboard: whether figures go to event files too.

    Attributes:
      path: see above.
      kept: that something is written here.

    Raises ValueError if it cannot be written to now. Later failures to write log.txt or metrics.jsonl are reported on
    standard error, and the lines are written when that is possible again.

    Attributes:
      events: the `Events`, or None.
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
            raise ValueError(
                f"cannot write to the run folder {path}: {error.strerror}; choose another --train_dir or --train_path"
            ) from None

    def _drop_from(self, first):
        """Returns {(step, split)} of the figures that stay."""
        if not os.path.exists(self.file(METRICS)):
            return set()
        with open(self.file(METRICS), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
        places = [_place(line) for line in lines]
        kept = [line for line, place in zip(lines, places) if place and place[0] < first]
        if len(kept) < len(lines):
            self.write(METRICS, "".join(kept))
        return {place for place in places if place and place[0] < first}

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

    def measure(self, step, split, **figures):
        """Appends one JSON object to metrics.jsonl; a figure that is not finite, which JSON does not know, is null."""
        self._metrics.add(json.dumps(_finite({"step": step, "split": split, **figures})))
        if self.events:
            self.events.scalars(step, split, figures)

    def add(self, name, figures):
        """Appends one JSON object to the file `name`."""
        files.Appended(self.file(name)).add(json.dumps(figures))

    def measured_before(self, step, split):
        """Returns whether metrics.jsonl held the figures of a step and split when the run went on."""
        return (step, split) in self._measured

    def write(self, name, text):
        """Writes a small file, whole or not at all."""
        files.replace(self.file(name), text)

    def sync(self):
        """Brings log and figures to the disk: a checkpoint is not to be there without those of its steps."""
        self._log.sync()
        self._metrics.sync()
        if self.events:
            self.events.sync()


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

    def add(self, name, figures):
        pass


def _place(line):
    """Returns (step, split) of a line of metrics.jsonl, or None if the line is torn or no such thing."""
    try:
        figures = json.loads(line) if line.endswith("\n") else {}
        return int(figures["step"]), str(figures["split"])
    except (ValueError, KeyError, TypeError):
        return None


def holds_run(path):
    """Returns whether a folder holds figures of a run."""
    metrics = os.path.join(path, METRICS)
    return os.path.isfile(metrics) and os.path.getsize(metrics) > 0


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def new_path(train_dir, *words):
    """Returns train_dir/WORDS_TIMESTAMP, words and time of now joined by underscores."""
    return os.path.join(train_dir, "_".join([*words, time.strftime("%Y-%m-%d_%H-%M-%S")]))
