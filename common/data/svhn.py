"""SVHN (Netzer et al., 2011), the cropped house numbers: train and extra together, and test, from the .mat files."""

import contextlib
import pathlib

import numpy as np

from common.console import one_line
from common.data.dataset import DataError, Dataset

_TRAIN = ("train_32x32.mat", "extra_32x32.mat")
_TEST = ("test_32x32.mat",)
_EXPECTED = "expected an SVHN file with X (uint8 [32, 32, 3, images]) and y (labels 1 .. 10)"
_CLASSES = 10
_MOST_IMAGES = 1_000_000  # the largest real file has 531,131


def find(folders):
    """Returns the first of `folders`, or of the folders svhn/ within them, that holds the three files, or None."""
    places = [place for folder in folders for place in (pathlib.Path(folder), pathlib.Path(folder) / "svhn")]
    return next((place for place in places if all((place / name).is_file() for name in _TRAIN + _TEST)), None)


def load(folder):
    """Returns the data set of the three files in `folder`; labels 1 .. 10 become 0 .. 9, so the digit 0 is class 9.

    One file is in memory beside the set. Raises DataError, one line naming the file and what was expected, for files
    that are missing, truncated, foreign or inconsistent. A file forged with care can end the process: scipy's reader
    is not made for hostile files.
    """
    folder = pathlib.Path(folder)
    test = _part([folder / name for name in _TEST])
    return Dataset("svhn", _CLASSES, *_part([folder / name for name in _TRAIN]), *test, mirror=False)


def _part(paths):
    """Returns images uint8 [N, 32, 32, 3] and labels int32 [N] of some files, in their order."""
    counts = [_count(path) for path in paths]
    images, labels = np.empty([sum(counts), 32, 32, 3], np.uint8), np.empty([sum(counts)], np.int32)
    start = 0
    for path, count in zip(paths, counts):
        _read(path, images[start : start + count], labels[start : start + count])
        start += count
    return images, labels


def _count(path):
    """Returns the number of images that the head of X claims, after comparing it with the size of the file."""
    from scipy.io import whosmat  # takes a second that other data sets should not pay

    with _reading(path):
        if not path.is_file():  # asked first because opening a pipe would wait for ever
            raise ValueError("is missing or not a plain file")
        shape = {name: shape for name, shape, _ in whosmat(path)}["X"]
        count = (*shape, 1)[3] if len(shape) in (3, 4) else 0  # MATLAB drops a last axis of 1
        if shape[:3] != (32, 32, 3) or not 1 <= count <= _MOST_IMAGES:
            raise ValueError(f"X has the shape {list(shape)}")
        if count * 32 * 32 * 3 > 1100 * path.stat().st_size:  # no compression in .mat files reaches that
            raise ValueError(f"X claims {count} images, more than {path.stat().st_size} bytes can hold")
        return count


def _read(path, images, labels):
    """Reads a file into the arrays for its images and its labels, which become 0 .. 9."""
    from scipy.io import loadmat

    with _reading(path):
        contents = loadmat(path, variable_names=("X", "y"))
        pixels, numbers = contents["X"], contents["y"]
        if pixels.dtype != np.uint8:
            raise ValueError(f"X is {pixels.dtype}")
        images[...] = np.moveaxis(pixels.reshape(32, 32, 3, -1), -1, 0)
        if numbers.dtype.kind not in "iuf" or numbers.size != len(labels):
            raise ValueError(f"{len(labels)} images but {numbers.size} labels ({numbers.dtype})")
        wrong = numbers[~np.isin(numbers, np.arange(1, _CLASSES + 1))]
        if wrong.size:
            raise ValueError(f"label {wrong[0]} is outside the classes")
        labels[...] = numbers.ravel() - 1


@contextlib.contextmanager
def _reading(path):
    """Within it every error becomes a DataError with the file's name: scipy raises what its arithmetic does."""
    try:
        yield
    except Exception as error:
        text = f"has no variable {error}" if isinstance(error, KeyError) else one_line(error)[:200]
        raise DataError(f"{path}: {text}; {_EXPECTED}") from error
