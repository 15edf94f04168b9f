"""A holdout: training images kept apart, on which curves and choices are made, so that the test set decides nothing."""

import dataclasses

import numpy as np

from common.data.dataset import DataError


def hold_out(dataset, count):
    """Returns the data set with `count` of its training images as its holdout; the rest keep their order.

    They are the last ones of a permutation that depends on the number of training images alone. It must not depend on
    a run's seed: a network that is trained further under another seed would be validated on what it has learnt.

    Raises DataError, one line, if nothing would be left, or if the set has a holdout already.
    """
    size = len(dataset.train_images)
    if dataset.holdout_images is not None:
        raise DataError(f"--holdout={count}: {dataset.name} has a validation part of its own; leave --holdout out")
    if not 1 <= count < size:
        raise DataError(f"--holdout={count}: expected 1 .. {size - 1}, for {dataset.name} has {size} training images")
    held = np.sort(np.random.RandomState(20210617).permutation(size)[-count:])  # a generator that never changes
    rest = np.delete(np.arange(size), held)
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[rest],
        train_labels=dataset.train_labels[rest],
        holdout_images=dataset.train_images[held],
        holdout_labels=dataset.train_labels[held],
    )
