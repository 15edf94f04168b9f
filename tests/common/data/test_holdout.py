"""A holdout: which images it takes, and which it leaves."""

import dataclasses

import numpy as np
import pytest

from common.data import synthetic
from common.data.dataset import DataError
from common.data.holdout import hold_out


def made(size=50):
    """A set whose images are known by their first two bytes."""
    data = synthetic.load(train=size, test=4, classes=3, size=4)
    data.train_images[:, 0, 0, 0] = np.arange(size) % 256
    data.train_images[:, 0, 0, 1] = np.arange(size) // 256
    return data


def numbers(images):
    return images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 0, 1].astype(int)


@pytest.mark.parametrize("size, count", [(2, 1), (50, 7), (50, 49), (1000, 300)])
def test_holdout_and_rest_are_disjoint_and_complete(size, count):
    data = made(size)
    split = hold_out(data, count)
    held, rest = numbers(split.holdout_images), numbers(split.train_images)
    assert len(held) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([held, rest])), np.arange(size))
    np.testing.assert_array_equal(split.holdout_labels, data.train_labels[held])
    np.testing.assert_array_equal(split.train_labels, data.train_labels[rest])
    assert np.all(np.diff(rest) > 0), "the rest keep their order"
    assert [part.split for part in split.parts()] == ["train", "holdout", "test"]
    assert split.validation().split == "holdout" and data.validation().split == "test"


def test_it_depends_on_the_size_alone():
    data = made(100)
    other = dataclasses.replace(made(100), train_labels=np.zeros(100, np.int32))
    state = np.random.get_state()
    first = numbers(hold_out(data, 20).holdout_images)
    np.random.seed(7)
    np.testing.assert_array_equal(numbers(hold_out(other, 20).holdout_images), first)
    np.random.set_state(state)
    assert set(numbers(hold_out(data, 10).holdout_images)) < set(first), "a larger one contains a smaller one"
    np.testing.assert_array_equal(first[:5], [1, 9, 17, 18, 19])  # the same for ever
    assert np.any(np.diff(first) != 1)


@pytest.mark.parametrize("count", [0, -1, 50, 1000])
def test_counts_that_leave_nothing_are_one_line(count):
    with pytest.raises(
        DataError, match=f"--holdout={count}: expected 1 .. 49, for synthetic has 50 training"
    ) as raised:
        hold_out(made(), count)
    assert "\n" not in str(raised.value)


def test_a_set_with_a_validation_part_of_its_own_takes_no_other():
    with pytest.raises(DataError, match="--holdout=3: synthetic has a validation part of its own"):
        hold_out(hold_out(made(), 5), 3)


def test_the_log_counts_the_images_a_class():
    split = hold_out(made(), 7)
    counts = np.bincount(split.holdout_labels, minlength=3)
    assert split.lines() == [
        "data set synthetic: 43 training, 7 holdout and 4 test images, 4 x 4 x 3, 3 classes",
        f"holdout, images a class: {counts[0]} {counts[1]} {counts[2]}",
    ]
