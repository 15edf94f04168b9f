"""Own images from .npz files."""

import numpy as np
import pytest

from common.data import arrays
from common.data.dataset import DataError

GENERATOR = np.random.RandomState(0)


def pictures(count, *shape):
    return GENERATOR.randint(0, 256, (count, *shape)).astype(np.uint8)


def keras(train=6, test=3, shape=(12, 12, 3)):
    return {
        "x_train": pictures(train, *shape),
        "y_train": np.arange(train) % 3,
        "x_test": pictures(test, *shape),
        "y_test": np.arange(test) % 3,
    }


def save(path, contents, **options):
    np.savez_compressed(path, **contents, **options)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64])
def test_arrays_of_keras(tmp_path, dtype):
    contents = keras() | {"y_train": np.array([0, 1, 2, 0, 1, 2], dtype)}
    data = arrays.load(save(tmp_path / "own.npz", contents))
    np.testing.assert_array_equal(data.train_images, contents["x_train"])
    np.testing.assert_array_equal(data.test_images, contents["x_test"])
    np.testing.assert_array_equal(data.train_labels, [0, 1, 2, 0, 1, 2])
    assert data.train_labels.dtype == np.int32 and data.holdout_images is None and data.remarks == ()
    assert (data.name, data.classes, data.mirror) == (str(tmp_path / "own.npz"), 3, True)


@pytest.mark.parametrize("shape", [(12, 12), (12, 10, 1)])
def test_arrays_of_medmnist_have_a_holdout_and_columns_of_labels_and_grey_gets_three_channels(tmp_path, shape):
    contents = {}
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        contents[f"{split}_images"] = pictures(count, *shape)
        contents[f"{split}_labels"] = np.arange(count)[:, None] % 2
    data = arrays.load(save(tmp_path / "own.npz", contents))
    assert [part.split for part in data.parts()] == ["train", "holdout", "test"]
    for part, name in zip(data.parts(), ("train", "val", "test")):
        for channel in range(3):
            grey = contents[f"{name}_images"].reshape(-1, *shape[:2])
            np.testing.assert_array_equal(part.images[..., channel], grey)
        np.testing.assert_array_equal(part.labels, contents[f"{name}_labels"].ravel())
    assert data.validation().split == "holdout"


def test_a_file_may_have_no_test_part_and_other_arrays(tmp_path):
    contents = keras()
    del contents["x_test"], contents["y_test"]
    data = arrays.load(save(tmp_path / "own.npz", contents, mean=np.zeros(3)))
    assert [part.split for part in data.parts()] == ["train"]
    assert data.remarks == (f"{tmp_path / 'own.npz'}: passed over: mean",)
    both = keras() | {"train_images": pictures(2, 8, 8), "train_labels": [0, 1], "val_images": X, "val_labels": Y}
    with pytest.raises(DataError, match="training images are .8, 8, 3. and holdout images"):
        arrays.load(save(tmp_path / "own.npz", both | {"val_images": pictures(4, 9, 8, 3)}))
    data = arrays.load(save(tmp_path / "own.npz", both))
    assert [part.split for part in data.parts()] == ["train", "holdout"]
    assert data.remarks == (f"{tmp_path / 'own.npz'}: passed over: x_test, x_train, y_test, y_train",)


X, Y = pictures(4, 8, 8, 3), np.array([0, 1, 0, 1])
WRONG = {
    "fractions": ({"x_train": X / 255.0}, r"x_train is float64 .*save numpy.rint\(255 \* x\).astype\(numpy.uint8\)"),
    "floats": ({"x_test": X.astype(np.float32)}, "x_test is float32"),
    "wide": ({"x_train": X.astype(np.int64)}, r"x_train is int64 .*save x.astype\(numpy.uint8\)"),
    "bits": ({"x_train": X > 9}, r"x_train is bool .*save 255 \* x.astype\(numpy.uint8\)"),
    "16 bits": ({"x_train": X.astype(np.uint16)}, r"x_train is uint16 .*save \(x >> 8\).astype\(numpy.uint8\) if"),
    "channels first": ({"x_train": X.transpose(0, 3, 1, 2)}, r"save x.transpose\(0, 2, 3, 1\)"),
    "flat": ({"x_train": X.reshape(4, -1)}, r"x_train is uint8 \[4, 192\]"),
    "four channels": ({"x_train": pictures(4, 8, 8, 4)}, r"x_train is uint8 \[4, 8, 8, 4\]"),
    "one-hot": ({"y_train": np.eye(2, dtype=int)[Y]}, r"y_train is int64 \[4, 2\].*save y.argmax\(1\)"),
    "one-hot of floats": ({"y_train": np.eye(2)[Y]}, r"y_train is float64 \[4, 2\].*save y.argmax\(1\)"),
    "several labels": ({"y_train": np.ones([4, 5], int)}, r"y_train is int64 \[4, 5\].*save one number an image"),
    "a row of labels": ({"y_train": Y[None]}, r"y_train is int64 \[1, 4\].*save one number an image"),
    "no columns": ({"y_train": np.ones([4, 0], int)}, r"y_train is int64 \[4, 0\].*save one number an image"),
    "labels of floats": ({"y_train": Y * 1.0}, r"y_train is float64 .*save y.astype\(numpy.int64\)"),
    "labels of text": (
        {"y_train": np.array(list("abab"))}, r"y_train is <U1 .*save numpy.unique\(y, return_inverse=True\)"
    ),
    "objects": ({"y_train": np.array([0, 1, None, {}], object)}, "holds Python objects.*save plain arrays"),
    "labels from 1": ({"y_train": Y + 1}, r"y_train has 2 labels \(1 2 ...\), expected 0 .. 1 without gaps"),
    "negative labels": ({"y_train": Y - 1}, r"y_train has 2 labels \(-1 0 ...\)"),
    "label with a gap": ({"y_train": Y * 10**9}, r"y_train has 2 labels \(0 1000000000 ...\)"),
    "unknown label": ({"y_test": Y + 1}, "y_test has the label 2, which no training image has"),
    "fewer labels": ({"y_train": Y[:3]}, r"x_train is \[4, 8, 8, 3\] and y_train has 3 labels, expected a label for"),
    "no images": ({"x_train": X[:0], "y_train": Y[:0]}, r"x_train is \[0, 8, 8, 3\] and y_train has 0 labels"),
    "no pixels": ({"x_train": X[:, :0]}, r"x_train is \[4, 0, 8, 3\] and y_train has 4 .*at least one pixel"),
    "no labels": ({"y_test": None}, "has no y_test"),
    "only labels": ({"x_train": None}, "has no x_train"),
    "other size": ({"x_test": pictures(4, 9, 8, 3)}, r"training images are \[8, 8, 3\] and test images \[9, 8, 3\]"),
    "no training": ({"x_train": None, "y_train": None, "images": X}, "holds images; expected x_train, y_train"),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_one_line_with_what_to_write(tmp_path, name):
    change, message = WRONG[name]
    contents = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y} | change
    save(tmp_path / "own.npz", {name: value for name, value in contents.items() if value is not None})
    with pytest.raises(DataError, match=message) as raised:
        arrays.load(tmp_path / "own.npz")
    assert "\n" not in str(raised.value) and str(tmp_path / "own.npz") in str(raised.value)


def test_damaged_files_are_one_line(tmp_path):
    path = save(tmp_path / "own.npz", keras())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 255
    np.save(tmp_path / "array.npy", X)
    array = (tmp_path / "array.npy").read_bytes()
    for contents in (b"", b"<html>", whole[: len(whole) // 2], bytes(flipped), array, b"\x80\x04}."):
        path.write_bytes(contents)
        with pytest.raises(DataError, match="own.npz: cannot be read as an .npz file") as raised:
            arrays.load(path)
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="there is no such file"):
        arrays.load(tmp_path / "nowhere.npz")
