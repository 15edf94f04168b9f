"""Whether the processes of a cluster are about to train the same thing: flags, code and data, by their SHA-256 sums."""

import hashlib
import pathlib

import numpy as np

from common.compat import tf

_ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOTS = 128  # numbers of a process's row: a fixed size, so that a process with other code gets an answer too


def items(settings, dataset, chosen):
    """Returns {what it is: text} of what has to be the same in all processes, the code first.

    Args:
      settings: resolved settings; those of `settings.shared_names()` count.
      dataset: a `Dataset`.
      chosen: a `Devices`; CPUs and GPUs round updates differently, so that all have to be of one kind.
    """
    texts = settings.texts()
    return {
        "the code": _code(),
        "TensorFlow's version": tf.__version__,
        "the data set": dataset.digest(),
        "the kind of device": chosen.kind,
        **{f"--{name}": texts.get(name, "") for name in sorted(settings.shared_names())},
    }


def row(items):
    """Returns the sums of one process's items, int64 [SLOTS]."""
    numbers = np.zeros(SLOTS, np.int64)
    for slot, value in enumerate(items.values()):
        digest = hashlib.sha256(value.encode()).digest()
        numbers[slot] = int.from_bytes(digest[:7], "big")  # an int64 holds seven bytes
    return numbers


def difference(rows, items, name):
    """Returns what differs between the chief and the other processes, in one line, or None.

    Args:
      rows: int64 [processes, SLOTS], the `row` of each.
      items: those of this process.
      name: `name(index)`, what a process is called.
    """
    wrong = rows != rows[0]
    if wrong[:, 0].any():
        wrong[:, 1:] = False  # other code may have other flags, in other slots
    found = [
        f"{list(items)[slot]} of {', '.join(name(index) for index in np.flatnonzero(wrong[:, slot]))}"
        for slot in np.flatnonzero(wrong.any(axis=0))
    ]
    if not found:
        return None
    told = "; give what flags.txt says to a worker that does not see the run folder"
    told = told if found[0].startswith("--") else ""
    return f"not the same as of {name(0)}: {'; '.join(found)}. All workers need the same flags, code and data{told}"


def _code():
    """Returns the sum of the names and contents of the source files: `common`, and all folders with a train.py."""
    folders = [_ROOT / "common", *(script.parent for script in _ROOT.glob("*/train.py"))]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
