"""The folder of a run: log.txt, flags.txt, metrics.jsonl and the checkpoints."""

import json
import os
import sys
import time


class RunFolder:
    """Where a run writes to.

    Args:
      path: the folder; made if it is not there. ValueError if that, or writing into it, cannot be done.
    """

    def __init__(self, path):
        self.path = path
        try:
            os.makedirs(path, exist_ok=True)
            self._log = open(self.file("log.txt"), "a", encoding="utf-8", buffering=1)
            self._metrics = open(self.file("metrics.jsonl"), "a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise ValueError(
                f"cannot write to the run folder {path}: {error.strerror}; choose another --train_dir or --train_path"
            ) from None

    def file(self, name):
        """Returns the path of a file in the folder."""
        return os.path.join(self.path, name)

    def say(self, line):
        """Writes a line to log.txt and, above the progress bar, to the terminal."""
        self._log.write(line + "\n")
        say(line)

    def measure(self, **figures):
        """Appends one JSON object to metrics.jsonl."""
        self._metrics.write(json.dumps(figures) + "\n")

    def write(self, name, text):
        """Writes a small file."""
        with open(self.file(name), "w", encoding="utf-8") as file:
            file.write(text)


def say(line):
    """Prints a line without breaking a progress bar."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def new_path(train_dir, *words):
    """Returns train_dir/WORDS_TIMESTAMP, words and time of now joined by underscores."""
    return os.path.join(train_dir, "_".join([*words, time.strftime("%Y-%m-%d_%H-%M-%S")]))
