"""Files that are whole or absent, whatever happens to the process, and files that grow by whole lines."""

import hashlib
import os
import sys

# The files of a run's folder (see run_folder.py), named here for readers that do without TensorFlow.
LOG, FLAGS, METRICS, START = "log.txt", "flags.txt", "metrics.jsonl", "start.json"

_BLOCK = 1 << 20


def sync(path):
    """Returns when a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and os.path.isdir(path):
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path, text):
    """Writes a text file: readers, and whoever comes after a crash, find the old one or the new one."""
    try:
        with open(temporary(path), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary(path), path)
    except OSError:
        remove(temporary(path))
        raise
    sync(os.path.dirname(path) or ".")


def temporary(path):
    """Returns what `replace` calls a file before it is whole."""
    return f"{path}.tmp"


def remove(path):
    """Removes a file if it is there and can be removed."""
    try:
        os.remove(path)
    except OSError:
        pass


def sha256(path):
    """Returns the SHA-256 sum of a file's bytes in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Appended:
    """A text file to which lines are added, none of them torn. It is opened anew for each: it may vanish and come back.

    What cannot be written (a full disk, a folder that is gone) is said once on standard error, kept, and written with
    the next line that can be: a log never ends the training.
    """

    def __init__(self, path):
        self._path, self._owed, self._complained = path, b"", False

    def add(self, line):
        self._owed += f"{line}\n".encode()
        try:
            self._write()
        except OSError as error:
            if not self._complained:
                print(f"cannot write {self._path}: {error.strerror or error}; training goes on", file=sys.stderr)
            self._complained = True

    def sync(self):
        """Brings what was added, and what is owed, to the disk, as far as that can be."""
        try:
            if self._owed:
                self._write()
            sync(self._path)
        except OSError:
            pass  # `add` has complained, or the next one will

    def _write(self):
        with open(self._path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                rest = self._owed
                while rest:  # a disk that fills up takes a part first
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        self._owed, self._complained = b"", False
