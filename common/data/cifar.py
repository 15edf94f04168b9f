"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in their Python versions, from a folder or from the .tar.gz."""

import dataclasses
import pathlib

import numpy as np

from common.data import archive, pickle_reader
from common.data.dataset import DataError, Dataset, check_examples

_SIDE, _CHANNELS = 32, 3
_MOST_BYTES = 1 << 29  # of one file; the largest real one has 0.16 GB


@dataclasses.dataclass(frozen=True)
class Format:
    """Where a set's images are: which files of which folder, and what the list of labels is called in them."""

    name: str
    classes: int
    folder: str
    archive: str
    train: tuple
    test: tuple
    labels: str


CIFAR10 = Format(
    name="cifar10",
    classes=10,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    labels="labels",
)
CIFAR100 = Format(
    name="cifar100",
    classes=100,
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    labels="fine_labels",
)


def find(folder, format):
    """Returns the path of the data set in `folder`, or None.

    That is, in this order: the unpacked folder within `folder`, or `folder` itself if it is one; the .tar.gz in it, or
    `folder` itself if it is a file; an unpacked folder with some of the files missing.
    """
    folder = pathlib.Path(folder)
    if folder.is_file():
        return folder
    present = {
        place: sum((place / name).exists() for name in format.train + format.test)
        for place in (folder / format.folder, folder)
    }
    complete = [place for place, count in present.items() if count == len(format.train + format.test)]
    archive = [folder / format.archive] if (folder / format.archive).exists() else []
    partial = [place for place, count in present.items() if count]
    return next(iter(complete + archive + partial), None)


def load(path, format):
    """Returns the data set of `format` (CIFAR10 or CIFAR100) at `path`: its folder, or its archive.

    An archive is unpacked beside itself first. The number of images is what the files hold. Raises DataError, one line
    naming the file and what was expected, for files that are missing, truncated, foreign or inconsistent.
    """
    path = pathlib.Path(path)
    if path.is_file():
        path = archive.unpack(path, format.folder, format.train + format.test)
    train, test = _part(path, format.train, format), _part(path, format.test, format)
    return Dataset(format.name, format.classes, *train, *test, mirror=True)


def _part(folder, names, format):
    """Returns images uint8 [N, 32, 32, 3] and labels int32 [N] of some files, in their order."""
    rows, labels = zip(*(_read(folder / name, format) for name in names))
    planes = np.concatenate(rows).reshape(-1, _CHANNELS, _SIDE, _SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(labels)


def _read(path, format):
    """Returns the rows uint8 [n, 3072] and the labels int32 [n] of one file."""
    values = _SIDE * _SIDE * _CHANNELS
    expected = f"expected a {format.name} batch with 'data' (uint8 [n, {values}]) and '{format.labels}' (n integers)"
    contents = _bytes(path, expected)
    try:
        batch = pickle_reader.loads(contents)
    except ValueError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())[:200]}; {expected}") from error
    if not isinstance(batch, dict):
        raise DataError(f"{path}: holds a {type(batch).__name__}; {expected}")
    data, labels = (batch.get(name, batch.get(name.encode())) for name in ("data", format.labels))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != values:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{path}: 'data' is {found}; {expected}")
    labels = _integers(labels)
    if labels is None:
        raise DataError(f"{path}: '{format.labels}' is missing or not a list of integers; {expected}")
    check_examples(str(path), data.reshape(-1, 1, 1, values), labels, format.classes)
    return data, labels


def _integers(labels):
    """Returns a list or an array of integers as int32 [n], those out of its range as -1; None if it is neither."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu":
        labels = labels.tolist()
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        return None
    return np.array([label if 0 <= label < 1 << 31 else -1 for label in labels], np.int32)


def _bytes(path, expected):
    """Returns the contents of a file that is there, plain, and not absurdly large."""
    try:
        if not path.is_file():  # asked first because opening a pipe would wait for ever
            raise DataError(f"{path}: is missing or not a plain file; {expected}")
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: has {path.stat().st_size} bytes, more than any such file; {expected}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
