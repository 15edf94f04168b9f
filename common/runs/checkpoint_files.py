"""Checksums beside a checkpoint: PREFIX.sha256, in the format of sha256sum, of all its files."""

import glob
import os
import re

from common import files

ENDING = ".sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write(prefix):
    """Writes the sums of the files that make up the checkpoint `prefix`."""
    lines = [f"{files.sha256(path)}  {os.path.basename(path)}\n" for path in parts(prefix)]
    files.replace(prefix + ENDING, "".join(lines))


def parts(prefix):
    """Returns the files of a checkpoint, its index last: it is what makes a checkpoint of the others."""
    return sorted(glob.glob(glob.escape(prefix) + ".data-?????-of-?????")) + [prefix + ".index"]


def fault(prefix):
    """Returns what is wrong with the files of a checkpoint in a few words, or None if all have their sums.

    A checkpoint without a file of sums, from another program, has no fault that could be seen here.
    """
    if not os.path.exists(prefix + ENDING):
        return None
    try:
        with open(prefix + ENDING, encoding="utf-8", errors="replace") as file:
            matches = [_LINE.fullmatch(line.rstrip("\n")) for line in file]
        named = {match.group(2): match.group(1) for match in matches if match}
        if None in matches or not all(os.path.basename(path) in named for path in parts(prefix)):
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
