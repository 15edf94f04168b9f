"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in their Python versions, from a folder or from the .tar.gz."""

import dataclasses
import pathlib

import numpy as np

from common.data import archive, pickles
from common.data.dataset import DataError, Dataset, check_examples

_SIDE, _CHANNELS = 32, 3
_VALUES = _SIDE * _SIDE * _CHANNELS
_MOST_BYTES = 1 << 29  # of one file; the largest real one has 0.16 GB


@dataclasses.dataclass(frozen=True)
class Cifar:
    """One of the two sets: which files of which folder have its images, and what they call the list of labels."""

    name: str
    classes: int
    folder: str
    archive: str
    train: tuple
    test: tuple
    labels: str

    def find(self, folders):
        """Returns the path of the data set in one of `folders`, or None.

        A place is a folder, the set's own folder within it, or a file, which counts as the archive. Whole sets come
        first, then archives, then sets with some of the files missing; among equals the first of `folders`.
        """
        whole, archives, incomplete = [], [], []
        for folder in map(pathlib.Path, folders):
            archives += [path for path in (folder / self.archive, folder) if path.is_file()]
            for place in (folder / self.folder, folder):
                present = [(place / name).is_file() for name in self.train + self.test]
                if any(present):
                    (whole if all(present) else incomplete).append(place)
        return next(iter(whole + archives + incomplete), None)

    def load(self, path):
        """Returns the data set at `path`: its folder, or its archive.

        An archive is unpacked beside itself first. The number of images is what the files hold. Raises DataError, one
        line naming the file and what was expected, for files that are missing, truncated, foreign or inconsistent.
        """
        path = pathlib.Path(path)
        if path.is_file():
            path = archive.unpack(path, self.folder, self.train + self.test)
        parts = self._part(path, self.train), self._part(path, self.test)
        return Dataset(self.name, self.classes, *parts[0], *parts[1], mirror=True)

    def _part(self, folder, names):
        """Returns images uint8 [N, 32, 32, 3] and labels int32 [N] of some files, in their order."""
        rows, labels = zip(*(self._read(folder / name) for name in names))
        planes = np.concatenate(rows).reshape(-1, _CHANNELS, _SIDE, _SIDE)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.concatenate(labels)

    def _read(self, path):
        """Returns the rows uint8 [n, 3072] and the labels int32 [n] of one file."""
        try:
            if not path.is_file():  # asked first because opening a pipe would wait for ever
                raise ValueError("is missing or not a plain file")
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"has {path.stat().st_size} bytes, more than any such file")
            batch = pickles.loads(path.read_bytes())
            if not isinstance(batch, dict):
                raise ValueError(f"holds a {type(batch).__name__}")
            data, labels = (batch.get(name, batch.get(name.encode())) for name in ("data", self.labels))
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _VALUES:
                found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
                raise ValueError(f"'data' is {found}")
            labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
            if not isinstance(labels, list) or any(type(label) is not int for label in labels):
                raise ValueError(f"'{self.labels}' is missing or not a list of integers")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            wanted = f"'data' (uint8 [n, {_VALUES}]) and '{self.labels}' (n integers)"
            raise DataError(f"{path}: {error}; expected a {self.name} batch with {wanted}") from error
        labels = np.array([label if 0 <= label < 1 << 31 else -1 for label in labels], np.int32)
        check_examples(str(path), data.reshape(-1, 1, 1, _VALUES), labels, self.classes)
        return data, labels


CIFAR10 = Cifar(
    name="cifar10",
    classes=10,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    labels="labels",
)
CIFAR100 = Cifar(
    name="cifar100",
    classes=100,
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    labels="fine_labels",
)
