"""The files of a checkpoint: which they are, and their checksums in PREFIX.sha256, in the format of sha256sum."""

import os
import re

from common import files

ENDING = ".sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_STRAY = re.compile(r"\.(index|meta|sha256|data[-\dof]*)?$")  # what a shell's completion may leave


def paths(prefix):
    """Returns the files of a checkpoint, its index last: the index makes a checkpoint of the others.

    A checkpoint of TensorFlow's V1 format is one file without an ending.
    """
    if not os.path.exists(prefix + ".index") and os.path.isfile(prefix):
        return [prefix]
    folder, pattern = os.path.dirname(prefix), re.escape(os.path.basename(prefix)) + r"\.data-\d{5}-of-\d{5}"
    names = sorted(name for name in os.listdir(folder or ".") if re.fullmatch(pattern, name))
    return [os.path.join(folder, name) for name in names] + [prefix + ".index"]


def exists(prefix):
    """Returns whether there is a checkpoint of this name, good or not."""
    return os.path.isdir(os.path.dirname(prefix) or ".") and os.path.isfile(paths(prefix)[-1])


def prefix_of(path):
    """Returns the name of the checkpoint that `path` means: a name, also with the ending of one of its files."""
    return path if os.path.isfile(path + ".index") else _STRAY.sub("", path)


def write_sums(prefix):
    """Writes the sums of the files that make up a checkpoint."""
    lines = [f"{files.sha256(path)}  {os.path.basename(path)}\n" for path in paths(prefix)]
    files.replace(prefix + ENDING, "".join(lines))


def fault(prefix):
    """Returns what is wrong with the files of a checkpoint in a few words, or None if all have their sums.

    A checkpoint without a file of sums, from another program, has no fault that could be seen here.
    """
    if not os.path.exists(prefix + ENDING):
        return None
    try:
        with open(prefix + ENDING, encoding="utf-8", errors="surrogateescape") as file:
            matches = [_LINE.fullmatch(line.rstrip("\n")) for line in file]
        named = {match.group(2): match.group(1) for match in matches if match}
        if None in matches or not all(os.path.basename(path) in named for path in paths(prefix)):
            return f"{os.path.basename(prefix)}{ENDING} is not the list of its sums"
        for name, expected in named.items():
            path = os.path.join(os.path.dirname(prefix), os.path.basename(name))
            if not os.path.exists(path):
                return f"{name} is missing"
            if files.sha256(path) != expected:
                return f"{name} has not the SHA-256 sum that it was saved with"
    except OSError as error:
        return f"{error.filename or prefix}: {error.strerror or error}"
    return None


def remove(prefix):
    """Removes a checkpoint, its index first: without it the rest is none."""
    folder = os.path.dirname(prefix)
    pattern = re.escape(os.path.basename(prefix)) + r"(\.(index|sha256|meta|data-\d{5}-of-\d{5}))?"
    names = [name for name in os.listdir(folder or ".") if re.fullmatch(pattern, name)]
    for name in sorted(names, key=lambda name: not name.endswith(".index")):
        files.remove(os.path.join(folder, name))
