"""Images that can be learnt."""

import numpy as np
import pytest

from common.data import synthetic
from common.data.dataset import DataError


def test_sizes_are_arguments():
    data = synthetic.load()
    assert data.train_images.shape == (512, 32, 32, 3) and data.test_images.shape == (256, 32, 32, 3)
    small = synthetic.load(train=5, test=3, classes=7, size=10, channels=1)
    assert small.train_images.shape == (5, 10, 10, 1) and small.test_images.shape == (3, 10, 10, 1)
    assert small.classes == 7
    with pytest.raises(DataError, match="at least 1"):
        synthetic.load(train=0)


def test_follows_from_the_seed():
    one, again, other = synthetic.load(seed=1), synthetic.load(seed=1), synthetic.load(seed=2)
    np.testing.assert_array_equal(one.train_images, again.train_images)
    np.testing.assert_array_equal(one.test_labels, again.test_labels)
    assert np.any(one.train_images != other.train_images)


def test_can_be_learnt_but_not_from_the_mean_alone():
    data = synthetic.load()
    counts = np.bincount(data.train_labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    train = data.train_images.reshape(512, -1).astype(float)
    test = data.test_images.reshape(256, -1).astype(float)
    centres = np.array([train[data.train_labels == label].mean(0) for label in range(10)])
    nearest = ((test[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == data.test_labels).mean() > 0.99
    assert train.std() > 40
