"""Sets for fine-tuning: half of the classes to begin with, few images a class of the other half to go over to."""

import os

import numpy as np

from common.data import datasets
from common.files import temporary

FIRST = "first-half"
COUNTS = (50, 500)  # images a class
RATES = "-rates"  # ends the names of the sets on which rates are chosen
_VALIDATED = 1000  # images a class that these validate on


def name(count):
    """Returns the name of the set with so many images a class of the second half."""
    return f"second-half-{count}"


def write_of(data, folder):
    """Writes the sets of the data set called `data` into a folder, unless they are there."""
    wanted = [FIRST, *map(name, COUNTS)]
    if not all(os.path.exists(_path(folder, stem + end)) for stem in wanted for end in ("", RATES)):
        write(datasets.load(data), folder)


def write(dataset, folder, counts=COUNTS, validated=_VALIDATED):
    """Writes the sets into a folder: of each NAME.npz with a test part, and NAME-rates.npz with a validation part.

    Args:
      dataset: a `Dataset`. Its order decides which images are taken: the first ones of each class.
      folder: is made if it is missing.
      counts: images a class of the second half; its classes are numbered from 0 again.
      validated: training images of each class, the last ones, that are in the validation part.

    Raises ValueError if a class has too few images.
    """
    os.makedirs(folder, exist_ok=True)
    half = dataset.classes // 2
    fewest = int(np.bincount(dataset.train_labels, minlength=dataset.classes).min())
    if max(counts) + validated > fewest:
        raise ValueError(f"{dataset.name} has a class of {fewest} images, expected {max(counts) + validated}")
    for first, sets in ((0, {FIRST: None}), (half, {name(count): count for count in counts})):
        classes = range(first, first + half)
        members = [np.flatnonzero(dataset.train_labels == label) for label in classes]
        tested = np.flatnonzero(np.isin(dataset.test_labels, classes))
        test = dataset.test_images[tested], dataset.test_labels[tested] - first
        for stem, count in sets.items():
            train = _part(dataset, [of_class[:count] for of_class in members], first)
            rest = _part(dataset, [of_class[:-validated][:count] for of_class in members], first)
            held = _part(dataset, [of_class[-validated:] for of_class in members], first)
            _save(_path(folder, stem), x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
            _save(_path(folder, stem + RATES), x_train=rest[0], y_train=rest[1], x_val=held[0], y_val=held[1])


def _part(dataset, members, first):
    chosen = np.sort(np.concatenate(members))
    return dataset.train_images[chosen], dataset.train_labels[chosen] - first


def _path(folder, stem):
    return os.path.join(folder, f"{stem}.npz")


def _save(path, **arrays):
    with open(temporary(path), "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary(path), path)
