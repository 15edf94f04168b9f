"""Made-up images that can be learnt: a coarse pattern for each class, under noise."""

import numpy as np

from common.data.dataset import DataError, Dataset

_CELLS = 4  # a pattern is 4 x 4 patches of one colour
_CONTRAST, _NOISE = 40.0, 40.0  # standard deviations of pattern and noise, in grey levels


def load(train=512, test=256, classes=10, size=32, channels=3, seed=0):
    """Returns `train` and `test` images, uint8 [_, size, size, channels], of `classes` classes as equal as can be.

    Everything follows from `seed`; it is not the run's seed, so that runs differ in their training and not their data.
    Raises DataError if a number is below 1.
    """
    if min(train, test, classes, size, channels) < 1:
        raise DataError(
            f"synthetic data: {(train, test, classes, size, channels)} (training images, test images,"
            " classes, size, channels) must all be at least 1"
        )
    generator = np.random.RandomState(seed)
    patterns = generator.randn(classes, _CELLS, _CELLS, channels)
    cell = np.arange(size) * _CELLS // size
    patterns = 127.5 + _CONTRAST * patterns[:, cell][:, :, cell]

    def part(count):
        labels = generator.permutation(np.arange(count) % classes).astype(np.int32)
        images = np.empty([count, size, size, channels], np.uint8)
        for image, label in zip(images, labels):  # one at a time: a large set needs no float copy
            image[...] = np.rint(patterns[label] + _NOISE * generator.randn(*image.shape)).clip(0, 255)
        return images, labels

    return Dataset("synthetic", classes, *part(train), *part(test), mirror=False)
