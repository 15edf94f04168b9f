"""What a data set must be."""

import tracemalloc

import numpy as np
import pytest

from common.data.dataset import DataError, Dataset, channel_statistics

GOOD = dict(
    name="toy",
    classes=3,
    train_images=np.zeros([4, 8, 8, 3], np.uint8),
    train_labels=np.array([0, 1, 2, 0], np.int32),
    test_images=np.zeros([2, 8, 8, 3], np.uint8),
    test_labels=np.array([2, 1], np.int32),
    mirror=False,
)


def test_a_good_set_keeps_its_arrays():
    data = Dataset(**GOOD)
    assert data.train_images is GOOD["train_images"] and data.classes == 3
    with pytest.raises(AttributeError):
        data.classes = 4


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(classes=0), "number of classes is 0"),
        (dict(classes=2), "label 2 is outside the classes, expected 0 .. 1"),
        (dict(train_labels=np.array([0, -1, 2, 0], np.int32)), "training: label -1 is outside"),
        (dict(test_labels=np.array([0, 3], np.int32)), "test: label 3 is outside"),
        (dict(train_labels=np.array([0, 1], np.int32)), "4 images but 2 labels"),
        (dict(train_labels=np.array([0, 1, 2, 0])), "labels are int64"),
        (dict(train_labels=np.zeros([4, 1], np.int32)), r"labels are int32 \[4, 1\]"),
        (dict(train_images=np.zeros([4, 8, 8, 3])), "images are float64"),
        (dict(test_images=np.zeros([2, 192], np.uint8)), r"images are uint8 \[2, 192\]"),
        (dict(test_images=np.zeros([2, 9, 8, 3], np.uint8)), r"\[8, 8, 3\] and test images \[9, 8, 3\]"),
        (dict(test_images=np.zeros([0, 8, 8, 3], np.uint8), test_labels=np.zeros(0, np.int32)), "at least one image"),
        (dict(train_images=np.zeros([4, 0, 8, 3], np.uint8)), "at least one image and pixel"),
        (dict(class_names=("a", "b")), "2 names for 3 classes"),
        (
            dict(holdout_images=np.zeros([1, 8, 8, 1], np.uint8), holdout_labels=np.zeros(1, np.int32)),
            r"holdout images \[",
        ),
    ],
)
def test_anything_else_is_refused_in_one_line(change, message):
    with pytest.raises(DataError, match=message) as raised:
        Dataset(**{**GOOD, **change})
    assert str(raised.value).startswith("data set toy") and "\n" not in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_a_set_without_a_test_part_has_training_images_only():
    data = Dataset(**{**GOOD, "test_images": None, "test_labels": None, "class_names": ("a", "b", "c")})
    assert [part.split for part in data.parts()] == ["train"]
    assert data.lines() == ["data set toy: 4 training images, 8 x 8 x 3, 3 classes", "classes: 0 a, 1 b, 2 c"]


def test_the_digest_is_that_of_the_content():
    digest = Dataset(**GOOD).digest()
    assert digest == Dataset(**{**GOOD, "name": "other"}).digest() and len(digest) == 64
    pixel, label = GOOD["test_images"].copy(), GOOD["train_labels"].copy()
    pixel[1, 7, 7, 2] = 1
    label[3] = 1
    changes = [{"test_images": pixel}, {"train_labels": label}, {"classes": 4}, {"class_names": ("a", "b", "c")}]
    changes += [{"holdout_images": GOOD["test_images"], "holdout_labels": GOOD["test_labels"]}]
    changes += [{"train_images": GOOD["test_images"], "train_labels": GOOD["test_labels"]}]
    assert len({digest, *(Dataset(**GOOD | change).digest() for change in changes)}) == 7


def test_channel_statistics_equal_those_of_the_whole_array():
    images = np.random.RandomState(0).randint(0, 256, (700, 32, 32, 3)).astype(np.uint8)
    images[..., 1] //= 3
    mean, deviation = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2), dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(deviation, images.std((0, 1, 2), dtype=np.float64), rtol=1e-11)


def test_channel_statistics_of_a_constant_channel_can_be_divided_by():
    images = np.zeros([2, 4, 4, 2], np.uint8)
    images[..., 1] = 200
    assert channel_statistics(images) == ((0.0, 200.0), (1.0, 1.0))


def test_channel_statistics_need_little_memory():
    images = np.zeros([10000, 32, 32, 3], np.uint8)  # 30 MB
    tracemalloc.start()
    channel_statistics(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
