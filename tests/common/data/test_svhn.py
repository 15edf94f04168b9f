"""SVHN in its own file format, small; scipy writes the files."""

import tracemalloc

import numpy as np
import pytest
from scipy.io import savemat

from common.data import svhn
from common.data.dataset import DataError

FILES = {"train_32x32.mat": 7, "extra_32x32.mat": 11, "test_32x32.mat": 5}


def write(path, count, compress=True, **change):
    generator = np.random.RandomState(count)
    contents = {
        "X": generator.randint(0, 256, (32, 32, 3, count)).astype(np.uint8),
        "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, None],
    } | change
    savemat(path, {name: value for name, value in contents.items() if value is not None}, do_compression=compress)
    return contents


def write_all(folder, compress=True):
    return {name: write(folder / name, count, compress) for name, count in FILES.items()}


@pytest.mark.parametrize("compress", [True, False])
def test_train_and_extra_are_joined_and_ten_becomes_zero(tmp_path, compress):
    contents = write_all(tmp_path, compress)
    data = svhn.load(tmp_path)
    joined = [contents[name] for name in ("train_32x32.mat", "extra_32x32.mat")]
    images = np.concatenate([np.moveaxis(part["X"], -1, 0) for part in joined])
    np.testing.assert_array_equal(data.train_images, images)
    labels = np.concatenate([part["y"].ravel().astype(int) - 1 for part in joined])
    np.testing.assert_array_equal(data.train_labels, labels)
    np.testing.assert_array_equal(data.test_images, np.moveaxis(contents["test_32x32.mat"]["X"], -1, 0))
    assert set(data.train_labels) == set(range(10)) and data.train_labels.dtype == np.int32
    assert (data.name, data.classes, data.mirror) == ("svhn", 10, False)


def test_one_image_other_variables_and_label_types_do_not_matter(tmp_path):
    contents = write_all(tmp_path)
    for labels in (np.array([[3.0], [10.0]]), np.array([[3, 10]], np.int64)):
        images = np.zeros([32, 32, 3, 2], np.uint8)
        others = {"a_long_name_before": np.zeros([50, 50]), "b": np.zeros(3, np.int8)}
        savemat(tmp_path / "test_32x32.mat", {**others, "X": images, "y": labels})
        np.testing.assert_array_equal(svhn.load(tmp_path).test_labels, [2, 9])
    image = contents["extra_32x32.mat"]["X"][..., 0]
    savemat(tmp_path / "test_32x32.mat", {"X": image, "y": 4})
    np.testing.assert_array_equal(svhn.load(tmp_path).test_images, image[None])


def test_find_knows_the_folder_and_its_own_folder(tmp_path):
    assert svhn.find([tmp_path, tmp_path / "nowhere"]) is None
    (tmp_path / "svhn").mkdir()
    write_all(tmp_path / "svhn")
    assert svhn.find([tmp_path]) == tmp_path / "svhn" and svhn.find([tmp_path / "svhn"]) == tmp_path / "svhn"
    (tmp_path / "svhn" / "extra_32x32.mat").unlink()
    (tmp_path / "svhn" / "extra_32x32.mat").mkdir()
    assert svhn.find([tmp_path]) is None


BROKEN = {
    "no images": (dict(X=None), "has no variable 'X'"),
    "no labels": (dict(y=None), "has no variable 'y'"),
    "other size": (dict(X=np.zeros([28, 28, 3, 4], np.uint8)), r"X has the shape \[28, 28, 3, 4\]"),
    "other type": (dict(X=np.zeros([32, 32, 3, 4], np.int16)), "X is int16"),
    "two axes": (dict(X=np.zeros([32, 32], np.uint8)), r"X has the shape \[32, 32\]"),
    "five axes": (dict(X=np.zeros([32, 32, 3, 2, 2], np.uint8)), "X has the shape"),
    "no image": (dict(X=np.zeros([32, 32, 3, 0], np.uint8)), r"X has the shape \[32, 32, 3, 0\]"),
    "too few labels": (dict(y=np.ones([3, 1], np.uint8)), "4 images but 3 labels"),
    "label too large": (dict(y=np.array([1, 2, 11, 3])), "label 11 is outside"),
    "label too small": (dict(y=np.array([1, 2, 0, 3])), "label 0 is outside"),
    "label between": (dict(y=np.array([1, 2, 2.5, 3])), "label 2.5 is outside"),
    "text": (dict(y="abcd"), "labels .<U4."),
}


def refused(folder, name, message=None):
    with pytest.raises(DataError, match=message) as raised:
        svhn.load(folder)
    assert str(raised.value).startswith(f"{folder / name}: ") and "\n" not in str(raised.value)
    assert "expected an SVHN file with X" in str(raised.value)


@pytest.mark.parametrize("name", BROKEN)
def test_inconsistent_files_are_named_in_one_line(tmp_path, name):
    change, message = BROKEN[name]
    write_all(tmp_path)
    write(tmp_path / "extra_32x32.mat", 4, **change)
    refused(tmp_path, "extra_32x32.mat", message)


@pytest.mark.parametrize("compress", [True, False])
def test_missing_foreign_and_truncated_files(tmp_path, compress):
    write_all(tmp_path, compress)
    path = tmp_path / "train_32x32.mat"
    whole = path.read_bytes()
    foreign = [b"", bytes(500), b"<html>", b"%PDF" + whole[4:130]]
    for contents in foreign + [whole[: len(whole) * i // 7] for i in range(7)]:
        path.write_bytes(contents)
        refused(tmp_path, path.name)
    path.unlink()
    refused(tmp_path, path.name, "is missing or not a plain file")


def test_a_flipped_pixel_of_a_compressed_file_is_noticed(tmp_path):
    write_all(tmp_path)
    path = tmp_path / "train_32x32.mat"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    refused(tmp_path, path.name)


def test_a_head_that_claims_more_than_the_file_holds_allocates_nothing(tmp_path):
    write_all(tmp_path, compress=False)
    path = tmp_path / "extra_32x32.mat"
    shape = np.array([32, 32, 3, 11], np.int32).tobytes()
    path.write_bytes(path.read_bytes().replace(shape, np.array([32, 32, 3, 900_000], np.int32).tobytes()))
    tracemalloc.start()
    refused(tmp_path, path.name, "X claims 900000 images")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_one_file_is_in_memory_beside_the_set(tmp_path):
    for name, count in (("train_32x32.mat", 1000), ("extra_32x32.mat", 1000), ("test_32x32.mat", 10)):
        savemat(tmp_path / name, {"X": np.zeros([32, 32, 3, count], np.uint8), "y": np.ones([count, 1], np.uint8)})
    svhn.load(tmp_path)  # loads scipy
    tracemalloc.start()
    data = svhn.load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.7 * data.train_images.nbytes
