"""SVHN in its own file format, small; scipy writes the files."""

import pathlib
import tracemalloc

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from common.data import mat_reader, svhn
from common.data.dataset import DataError

FILES = {"train_32x32.mat": 7, "extra_32x32.mat": 11, "test_32x32.mat": 5}


def write(path, count, compress, seed=0, **change):
    generator = np.random.RandomState(seed)
    contents = {
        "X": generator.randint(0, 256, (32, 32, 3, count)).astype(np.uint8),
        "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, None],
    }
    contents.update(change)
    savemat(path, {name: value for name, value in contents.items() if value is not None}, do_compression=compress)
    return contents


def write_all(folder, compress=True):
    return {name: write(folder / name, count, compress, count) for name, count in FILES.items()}


@pytest.mark.parametrize("compress", [True, False])
def test_train_and_extra_are_joined_and_ten_becomes_zero(tmp_path, compress):
    contents = write_all(tmp_path, compress)
    data = svhn.load(tmp_path)
    joined = [contents[name] for name in ("train_32x32.mat", "extra_32x32.mat")]
    images = np.concatenate([np.moveaxis(part["X"], -1, 0) for part in joined])
    np.testing.assert_array_equal(data.train_images, images)
    np.testing.assert_array_equal(data.train_labels, np.concatenate([part["y"].ravel().astype(int) - 1 for part in joined]))
    np.testing.assert_array_equal(data.test_images, np.moveaxis(contents["test_32x32.mat"]["X"], -1, 0))
    assert set(data.train_labels) == set(range(10)) and data.train_labels.dtype == np.int32
    assert (data.name, data.classes, data.mirror) == ("svhn", 10, False)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("count, block", [(1, 1000), (10, 3), (10, 10), (10, 1000)])
def test_blocks_are_what_scipy_reads(tmp_path, compress, count, block):
    write(tmp_path / "x.mat", count, compress)
    assert mat_reader.count(tmp_path / "x.mat") == count
    blocks = list(mat_reader.blocks(tmp_path / "x.mat", block))
    assert max(len(images) for images in blocks) == min(block, count)
    expected = loadmat(tmp_path / "x.mat")["X"].reshape(32, 32, 3, count)
    np.testing.assert_array_equal(np.concatenate(blocks), np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize("compress", [True, False])
def test_other_variables_and_label_types_do_not_matter(tmp_path, compress):
    path = tmp_path / "x.mat"
    for labels in (np.array([[3.0], [10.0]]), np.array([[3, 10]], np.int64)):
        before = {"a_long_name_before": np.zeros([50, 50]), "b": np.zeros(3, np.int8)}
        savemat(path, {**before, "X": np.zeros([32, 32, 3, 2], np.uint8), "y": labels}, do_compression=compress)
        assert mat_reader.count(path) == 2
        np.testing.assert_array_equal(svhn._labels(path), [2, 9])


def test_find_knows_the_folder_and_its_own_folder(tmp_path):
    assert svhn.find(tmp_path) is None
    (tmp_path / "svhn").mkdir()
    write_all(tmp_path / "svhn")
    assert svhn.find(tmp_path) == tmp_path / "svhn" and svhn.find(tmp_path / "svhn") == tmp_path / "svhn"
    (tmp_path / "svhn" / "extra_32x32.mat").unlink()
    assert svhn.find(tmp_path) is None


BROKEN = {
    "no images": (dict(X=None), "ends before a variable X"),
    "no labels": (dict(y=None), "ends before a variable y"),
    "other size": (dict(X=np.zeros([28, 28, 3, 4], np.uint8)), r"X has the shape \[28, 28, 3, 4\]"),
    "other type": (dict(X=np.zeros([32, 32, 3, 4], np.int16)), "and the type 3"),
    "floats": (dict(X=np.zeros([32, 32, 3, 4])), "expected an SVHN file"),
    "five axes": (dict(X=np.zeros([32, 32, 3, 2, 2], np.uint8)), "X has the shape"),
    "no image": (dict(X=np.zeros([32, 32, 3, 0], np.uint8)), "expected an SVHN file"),
    "too few labels": (dict(y=np.ones([3, 1], np.uint8)), "4 images but 3 labels"),
    "label too large": (dict(y=np.array([1, 2, 11, 3])), "label 11 is outside"),
    "label too small": (dict(y=np.array([1, 2, 0, 3])), "label 0 is outside"),
    "label between": (dict(y=np.array([1, 2, 2.5, 3])), "label 2.5 is outside"),
    "text": (dict(y="abcd"), "expected a column of numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_inconsistent_files_are_named_in_one_line(tmp_path, name):
    change, message = BROKEN[name]
    write_all(tmp_path)
    write(tmp_path / "extra_32x32.mat", 4, True, **change)
    with pytest.raises(DataError, match=message) as raised:
        svhn.load(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'extra_32x32.mat'}: ") and "\n" not in str(raised.value)


def one_line_error(folder, name):
    with pytest.raises(DataError) as raised:
        svhn.load(folder)
    assert str(folder / name) in str(raised.value) and "\n" not in str(raised.value)


def test_missing_foreign_and_truncated_files(tmp_path):
    for compress in (True, False):
        write_all(tmp_path, compress)
        path = tmp_path / "train_32x32.mat"
        whole = path.read_bytes()
        for contents in [b"", b"\x00" * 500, b"%PDF" + whole[4:130]] + [whole[: len(whole) * i // 7] for i in range(7)]:
            path.write_bytes(contents)
            one_line_error(tmp_path, path.name)
        path.unlink()
        one_line_error(tmp_path, path.name)


def test_flipped_bytes_give_a_data_set_or_a_one_line_error(tmp_path):
    generator = np.random.RandomState(0)
    for compress in (True, False):
        write_all(tmp_path, compress)
        path = tmp_path / "test_32x32.mat"
        whole = path.read_bytes()
        for trial in range(150):
            mutated = bytearray(whole)
            # Half of them in the heads of the variables, where it hurts.
            reach = len(whole) if trial % 2 else 300
            for position in generator.randint(100, reach, 3):
                mutated[position] = generator.randint(256)
            path.write_bytes(mutated)
            try:
                svhn.load(tmp_path)
            except DataError as error:
                assert "\n" not in str(error) and path.name in str(error)


def test_a_flipped_pixel_of_a_compressed_file_is_noticed(tmp_path):
    write_all(tmp_path)
    path = tmp_path / "train_32x32.mat"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    one_line_error(tmp_path, path.name)


def test_the_set_is_in_memory_once(tmp_path):
    """The blocks read at a time are the rest: 9 MB, whatever the size of the set."""
    for name, count in (("train_32x32.mat", 2000), ("extra_32x32.mat", 6000), ("test_32x32.mat", 10)):
        images = np.random.RandomState(0).randint(0, 256, (32, 32, 3, count)).astype(np.uint8)
        savemat(tmp_path / name, {"X": images, "y": np.ones([count, 1], np.uint8)}, do_compression=True)
    svhn._labels(pathlib.Path(tmp_path / "test_32x32.mat"))  # loads scipy
    tracemalloc.start()
    data = svhn.load(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * data.train_images.nbytes
