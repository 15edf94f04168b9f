"""SVHN (Netzer et al., 2011), the cropped house numbers: train and extra together, and test, from the .mat files."""

import pathlib

import numpy as np

from common.data import mat_reader
from common.data.dataset import DataError, Dataset

_TRAIN = ("train_32x32.mat", "extra_32x32.mat")
_TEST = ("test_32x32.mat",)
_EXPECTED = "expected an SVHN file with X (uint8 [32, 32, 3, images]) and y (labels 1 .. 10)"
_CLASSES = 10


def find(folder):
    """Returns the folder that holds the three files, `folder` or svhn/ within it, or None."""
    for place in (pathlib.Path(folder), pathlib.Path(folder) / "svhn"):
        if all((place / name).exists() for name in _TRAIN + _TEST):
            return place
    return None


def load(folder):
    """Returns the data set of the three files in `folder`; labels 1 .. 10 become 0 .. 9, so the digit 0 is class 9.

    The images are read in blocks into one array, so the set is in memory once. Raises DataError, one line naming the
    file and what was expected, for files that are missing, truncated, foreign or inconsistent.
    """
    folder = pathlib.Path(folder)
    test = _part([folder / name for name in _TEST])
    return Dataset("svhn", _CLASSES, *_part([folder / name for name in _TRAIN]), *test, mirror=False)


def _part(paths):
    """Returns images uint8 [N, 32, 32, 3] and labels int32 [N] of some files, in their order."""
    try:
        labels = [_labels(path) for path in paths]
        images = np.empty([sum(len(values) for values in labels), 32, 32, 3], np.uint8)
    except MemoryError as error:
        raise DataError(f"{paths[-1]}: more images than fit into the memory; {_EXPECTED}") from error
    start = 0
    for path, values in zip(paths, labels):
        try:
            for block in mat_reader.blocks(path):
                images[start : start + len(block)] = block
                start += len(block)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: {_one_line(error)}; {_EXPECTED}") from error
    return images, np.concatenate(labels)


def _labels(path):
    """Returns the labels of a file, int32 [n] in 0 .. 9, after checking that it has as many images."""
    try:
        if not path.is_file():  # asked first because opening a pipe would wait for ever
            raise ValueError("is missing or not a plain file")
        images = mat_reader.count(path)
        labels = mat_reader.labels(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: {_one_line(error)}; {_EXPECTED}") from error
    if len(labels) != images:
        raise DataError(f"{path}: {images} images but {len(labels)} labels; {_EXPECTED}")
    wrong = labels[~np.isin(labels, np.arange(1, _CLASSES + 1))]
    if wrong.size:
        raise DataError(f"{path}: label {wrong[0]} is outside the classes; {_EXPECTED}")
    return labels.astype(np.int32) - 1


def _one_line(error):
    return " ".join(str(error).split())[:200] or "ends too early"
