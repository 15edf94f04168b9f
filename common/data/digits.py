"""The handwritten digits that come inside scikit-learn, as 32 x 32 x 3 images.

1,797 real images of 8 x 8 pixels with values 0..16 (Alpaydin & Kaynak's optical recognition of handwritten digits, UCI,
the test part). They need no download, so every command can train on something real.
"""

import numpy as np

from common.data.dataset import Dataset

_SIZE = 32
_TEST_EVERY = 5  # of the images ordered by class, one in five: 360 for test, 1,437 for training


def load():
    """Returns the digits: 1,437 training and 360 test images, uint8 [_, 32, 32, 3], the same value in all channels.

    The split is fixed: it depends on nothing but the data, and each class gives one image in five to the test.
    """
    from sklearn.datasets import load_digits  # takes a second that other data sets should not pay

    digits = load_digits()
    images = _enlarge(digits.images * (255.0 / 16.0))
    labels = digits.target.astype(np.int32)
    test = _test_part(labels)
    return Dataset("digits", 10, images[~test], labels[~test], images[test], labels[test], mirror=False)


def _test_part(labels):
    """Returns which images are for test: in a fixed random order within each class, one in five."""
    order = np.random.RandomState(20210617).permutation(len(labels))  # a frozen generator: the same for ever
    by_class = order[np.argsort(labels[order], kind="stable")]
    test = np.zeros(len(labels), bool)
    test[by_class[::_TEST_EVERY]] = True
    return test


def _enlarge(images):
    """Returns float images [N, h, w] as uint8 [N, 32, 32, 3], bilinear between pixel centres."""
    rows, columns = _bilinear(images.shape[1]), _bilinear(images.shape[2])
    enlarged = np.rint(rows @ images @ columns.T).clip(0, 255).astype(np.uint8)
    return np.repeat(enlarged[..., None], 3, axis=-1)


def _bilinear(size):
    """Returns the matrix [32, size] that takes samples at `size` pixel centres to 32; beyond the outermost, theirs."""
    centres = ((np.arange(_SIZE) + 0.5) * size / _SIZE - 0.5).clip(0, size - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(size)))
