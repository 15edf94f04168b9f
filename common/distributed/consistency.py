"""Whether the processes of a cluster are about to train the same thing: flags, code and data, by their SHA-256 sums."""

import hashlib
import pathlib

import numpy as np

from common.compat import tf

_ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOTS = 128  # numbers of a process's row: a fixed size, so that another version of the program gets an answer too
_FIRST_FLAG = 16
_CODE, _TENSORFLOW = "the code", "TensorFlow's version"


def items(settings, dataset, chosen):
    """Returns two dicts {what it is: text or bytes}, the flags last, of what has to be the same in all processes.

    Args:
      settings: resolved settings; those of `settings.shared_names()` count.
      dataset: a `Dataset`.
      chosen: a `Devices`; their kind has to be the same, as the rounding of updates is.
    """
    values = settings.texts()
    flags = {f"--{name}": values.get(name, "") for name in settings.shared_names()}
    arrays = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    return {
        _CODE: _code(),
        _TENSORFLOW: tf.__version__,
        "the data set": b"".join(_sum(repr(array.shape).encode(), array) for array in arrays),
        "the kind of device": chosen.kind,
    }, flags


def row(common, flags):
    """Returns the items of one process as numbers, int64 [128]; what is the same gives the same number."""
    numbers = np.zeros(SLOTS, np.int64)
    numbers[: len(common)] = [_number(value) for value in common.values()]
    in_order = [_number(f"{name}={value}") for name, value in sorted(flags.items())]
    numbers[_FIRST_FLAG : _FIRST_FLAG + len(in_order)] = in_order
    return numbers


def difference(rows, common, flags, name):
    """Returns what differs between the chief and the other processes, in one line, or None.

    Args:
      rows: int64 [processes, 128], the `row` of each.
      common, flags: the items of this process.
      name: `name(index)`, what a process is called.
    """
    places = dict(enumerate(common)) | dict(enumerate(sorted(flags), _FIRST_FLAG))
    wrong = rows != rows[0]
    if wrong[:, :_FIRST_FLAG].any():
        wrong[:, _FIRST_FLAG:] = False  # other code may have other flags, in other places
    found = [
        f"{places[place]} of {', '.join(name(index) for index in np.flatnonzero(wrong[:, place]))}"
        for place in np.flatnonzero(wrong.any(axis=0))
    ]
    if not found:
        return None
    return f"not the same as of {name(0)}: {'; '.join(found)}. All workers need the same flags, code and data"


def _number(value):
    """A number below 2^62 from a text or bytes."""
    data = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 2


def _sum(head, array):
    digest = hashlib.sha256(head)
    for block in np.array_split(array, max(1, array.nbytes >> 26)):
        digest.update(np.ascontiguousarray(block))
    return digest.digest()


def _code():
    """The names and contents of the project's source files: `common`, and all folders that have a train.py."""
    folders = [_ROOT / "common", *(script.parent for script in _ROOT.glob("*/train.py"))]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.digest()
