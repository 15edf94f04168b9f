"""The folder of a run: log.txt, flags.txt, metrics.jsonl and the checkpoints."""

import json
import math
import os
import sys
import time

LOG, FLAGS, METRICS = "log.txt", "flags.txt", "metrics.jsonl"


class RunFolder:
    """Where a run writes to.

    Args:
      path: the folder; made if it is not there.
      first: the first update that will be done there. Figures of later ones, which a run that goes on from an earlier
        checkpoint does again, are dropped from metrics.jsonl.

    Raises ValueError if the folder cannot be made or written to.
    """

    def __init__(self, path, first=0):
        self.path = path
        try:
            os.makedirs(path, exist_ok=True)
            self._log = open(self.file(LOG), "a", encoding="utf-8", buffering=1)
            self._drop_from(first)
            self._metrics = open(self.file(METRICS), "a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise ValueError(
                f"cannot write to the run folder {path}: {error.strerror}; choose another --train_dir or --train_path"
            ) from None

    def _drop_from(self, first):
        if not os.path.exists(self.file(METRICS)):
            return
        with open(self.file(METRICS), encoding="utf-8") as file:
            lines = file.readlines()
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] < first]
        if len(kept) < len(lines):
            self.write(METRICS, "".join(kept))

    def file(self, name):
        """Returns the path of a file in the folder."""
        return os.path.join(self.path, name)

    def say(self, line):
        """Writes a line to log.txt and, above the progress bar, to the terminal."""
        self.note(line)
        say(line)

    def note(self, line):
        """Writes a line to log.txt only: what the program says elsewhere."""
        self._log.write(line + "\n")

    def measure(self, **figures):
        """Appends one JSON object to metrics.jsonl; a figure that is not finite, which JSON does not know, is null."""
        self._metrics.write(json.dumps(_finite(figures)) + "\n")

    def write(self, name, text):
        """Writes a small file."""
        with open(self.file(name), "w", encoding="utf-8") as file:
            file.write(text)


def holds_run(path):
    """Returns whether a folder holds figures of a run."""
    metrics = os.path.join(path, METRICS)
    return os.path.isfile(metrics) and os.path.getsize(metrics) > 0


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(line):
    """Prints a line without breaking a progress bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def new_path(train_dir, *words):
    """Returns train_dir/WORDS_TIMESTAMP, words and time of now joined by underscores."""
    return os.path.join(train_dir, "_".join([*words, time.strftime("%Y-%m-%d_%H-%M-%S")]))
