"""The digits that need no download."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from common.data import digits


@pytest.fixture(scope="module")
def data():
    return digits.load()


def test_sizes_and_split(data):
    assert data.name == "digits" and data.classes == 10 and data.mirror is False
    assert data.train_images.shape == (1437, 32, 32, 3) and data.test_images.shape == (360, 32, 32, 3)
    for count_train, count_test in zip(np.bincount(data.train_labels), np.bincount(data.test_labels)):
        assert abs(count_test - (count_train + count_test) / 5) < 1


def test_split_is_the_same_for_ever(data):
    assert hashlib.md5(data.test_labels.tobytes()).hexdigest() == "e1c937450ff9e15aafaccdf837f4015c"
    np.testing.assert_array_equal(digits.load().train_images, data.train_images)


def test_every_image_is_in_one_part(data):
    labels = np.concatenate([data.train_labels, data.test_labels])
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(load_digits().target))
    rows = np.concatenate([data.train_images, data.test_images]).reshape(1797, -1)
    assert len(np.unique(rows, axis=0)) == len(np.unique(load_digits().data, axis=0))


def test_image_is_its_digit_enlarged(data):
    images = np.concatenate([data.train_images, data.test_images]).astype(np.float64)
    assert np.all(images == images[..., :1])
    assert images.max() == 255 and images.min() == 0
    # Averaging each 4 x 4 patch undoes the enlargement up to the smoothing between neighbours.
    coarse = images[..., 0].reshape(1797, 8, 4, 8, 4).mean((2, 4)).reshape(1797, -1)
    train = load_digits().data[~digits._test_part(load_digits().target)] * 255 / 16
    correlation = [np.corrcoef(one, other)[0, 1] for one, other in zip(coarse, train)]
    assert min(correlation[:1437]) > 0.9


def test_enlargement_is_linear_between_centres():
    ramp = np.tile(np.arange(8.0) * 16, (1, 8, 1))
    row = digits._enlarge(ramp)[0, 5, :, 0]
    np.testing.assert_array_equal(row[:2], 0)
    np.testing.assert_array_equal(row[2:30], np.rint((np.arange(2, 30) + 0.5) * 4 - 8))
    np.testing.assert_array_equal(row[30:], 112)
