"""CIFAR in its own file format, small."""

import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from common.data import cifar
from common.data.cifar import CIFAR10, CIFAR100
from common.data.dataset import DataError

REFERENCE = pathlib.Path(__file__).parents[4] / "shared/reference/datasets/cifar-10-batches-py"


def write(folder, format, count=6, names=bytes, protocol=2):
    """Writes a data set of random images, file by file, and returns the rows and the labels of each file."""
    folder = pathlib.Path(folder) / format.folder
    folder.mkdir(parents=True)
    generator = np.random.RandomState(0)
    contents = {}
    for number, name in enumerate(format.train + format.test):
        rows = generator.randint(0, 256, (count + number, 3072)).astype(np.uint8)
        labels = generator.randint(0, format.classes, count + number).tolist()
        contents[name] = rows, labels
        save(folder / name, {"data": rows, format.labels: labels, "filenames": ["x.png"] * len(rows)}, names, protocol)
    return folder, contents


def save(path, batch, names=str, protocol=2):
    batch = {key.encode() if names is bytes else key: value for key, value in batch.items()}
    path.write_bytes(pickle.dumps(batch, protocol))


def image(row):
    """A row's image, pixel by pixel: 1,024 red values row by row, then green, then blue."""
    return np.array([[[row[c * 1024 + y * 32 + x] for c in range(3)] for x in range(32)] for y in range(32)], np.uint8)


@pytest.mark.parametrize("names, protocol", [(bytes, 2), (str, 2), (str, 4), (str, 0)])
@pytest.mark.parametrize("format", [CIFAR10, CIFAR100], ids=lambda format: format.name)
def test_images_and_labels_are_those_of_the_files(tmp_path, format, names, protocol):
    folder, contents = write(tmp_path, format, 3, names, protocol)
    data = format.load(folder)
    rows = np.concatenate([contents[name][0] for name in format.train])
    assert data.train_images.shape == (len(rows), 32, 32, 3) and data.train_images.flags.c_contiguous
    np.testing.assert_array_equal(data.train_images[-1], image(rows[-1]))
    np.testing.assert_array_equal(data.train_labels, sum((contents[name][1] for name in format.train), []))
    np.testing.assert_array_equal(data.test_images[0], image(contents[format.test[0]][0][0]))
    np.testing.assert_array_equal(data.test_labels, contents[format.test[0]][1])
    assert (data.name, data.classes, data.mirror) == (format.name, format.classes, True)


def test_labels_may_be_an_array(tmp_path):
    folder, contents = write(tmp_path, CIFAR10)
    rows, labels = contents["test_batch"]
    save(folder / "test_batch", {"data": rows, "labels": np.array(labels)})
    np.testing.assert_array_equal(CIFAR10.load(folder).test_labels, labels)


def pack(folder, archive):
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)


def test_an_archive_is_unpacked_beside_itself(tmp_path):
    folder, contents = write(tmp_path / "original", CIFAR100)
    pack(folder, tmp_path / CIFAR100.archive)
    data = CIFAR100.load(CIFAR100.find([tmp_path]))
    np.testing.assert_array_equal(data.test_labels, contents["test"][1])
    assert CIFAR100.find([tmp_path]) == tmp_path / CIFAR100.folder


def test_find_knows_the_folder_the_folder_itself_and_the_archive(tmp_path):
    assert CIFAR10.find([tmp_path]) is None and CIFAR10.find([tmp_path / "nowhere"]) is None
    folder, _ = write(tmp_path, CIFAR10)
    assert CIFAR10.find([tmp_path]) == folder and CIFAR10.find([folder]) == folder
    assert CIFAR100.find([tmp_path]) is None
    (folder / "data_batch_3").unlink()
    assert CIFAR10.find([tmp_path]) == folder
    (tmp_path / CIFAR10.archive).write_bytes(b"")
    assert CIFAR10.find([tmp_path]) == tmp_path / CIFAR10.archive
    assert CIFAR10.find([tmp_path / CIFAR10.archive]) == tmp_path / CIFAR10.archive


def test_whole_sets_come_first_then_archives_then_incomplete_ones(tmp_path):
    for name in ("incomplete", "packed", "whole", "whole again"):
        (tmp_path / name).mkdir()
    (tmp_path / "incomplete" / "train").write_bytes(b"")
    (tmp_path / "packed" / CIFAR100.archive).write_bytes(b"")
    whole, _ = write(tmp_path / "whole", CIFAR100)
    write(tmp_path / "whole again", CIFAR100)
    places = [tmp_path / name for name in ("incomplete", "packed", "whole", "whole again")]
    assert CIFAR100.find(places) == whole
    assert CIFAR100.find(places[:2]) == tmp_path / "packed" / CIFAR100.archive
    assert CIFAR100.find(places[:1]) == tmp_path / "incomplete"


@pytest.mark.parametrize("format", [CIFAR10, CIFAR100], ids=lambda format: format.name)
def test_folders_that_are_called_as_files_of_the_set_are_no_set(tmp_path, format):
    """Own pictures lie in train/ and test/ as a rule."""
    for name in (*format.train, *format.test, f"{format.folder}/{format.train[0]}", format.archive):
        (tmp_path / "pictures" / name / "cat").mkdir(parents=True)
    assert format.find([tmp_path / "pictures"]) is None
    folder, _ = write(tmp_path / "set", format)
    assert format.find([tmp_path / "pictures", tmp_path / "set"]) == folder


ROWS = np.zeros([2, 3072], np.uint8)
BROKEN = {
    "missing data": ({"labels": [0, 1]}, "'data' is NoneType"),
    "wrong width": ({"data": np.zeros([2, 3000], np.uint8), "labels": [0, 1]}, r"'data' is uint8 \[2, 3000\]"),
    "wrong type": ({"data": np.zeros([2, 3072], np.int32), "labels": [0, 1]}, "'data' is int32"),
    "missing labels": ({"data": ROWS}, "'labels' is missing"),
    "CIFAR-100 labels": ({"data": ROWS, "fine_labels": [0, 1]}, "'labels' is missing"),
    "labels of text": ({"data": ROWS, "labels": ["0", "1"]}, "not a list of integers"),
    "label too large": ({"data": ROWS, "labels": [0, 10]}, "label 10 is outside the classes, expected 0 .. 9"),
    "label negative": ({"data": ROWS, "labels": [-3, 0]}, "outside the classes"),
    "label enormous": ({"data": ROWS, "labels": [1 << 80, 0]}, "outside the classes"),
    "too few labels": ({"data": ROWS, "labels": [0]}, "2 images but 1 labels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_inconsistent_files_are_named_in_one_line(tmp_path, name):
    batch, message = BROKEN[name]
    folder, _ = write(tmp_path, CIFAR10)
    save(folder / "data_batch_2", batch)
    with pytest.raises(DataError, match=message) as raised:
        CIFAR10.load(folder)
    assert str(raised.value).startswith(f"{folder / 'data_batch_2'}: ") and "\n" not in str(raised.value)


CALL = b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R."


@pytest.mark.parametrize("contents", [b"", b"garbage\n", b"\x80\x02]q\x00.", CALL])
def test_foreign_files_are_named_in_one_line(tmp_path, contents):
    folder, _ = write(tmp_path, CIFAR100)
    (folder / "test").write_bytes(contents)
    with pytest.raises(DataError, match="expected a cifar100 batch with 'data'") as raised:
        CIFAR100.load(folder)
    assert str(folder / "test") in str(raised.value) and "\n" not in str(raised.value)


def test_missing_truncated_and_special_files(tmp_path):
    folder, _ = write(tmp_path, CIFAR10)
    whole = (folder / "data_batch_5").read_bytes()
    (folder / "data_batch_5").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="data_batch_5: "):
        CIFAR10.load(folder)
    (folder / "data_batch_5").unlink()
    with pytest.raises(DataError, match="data_batch_5: is missing"):
        CIFAR10.load(folder)
    (folder / "data_batch_5").mkdir()
    with pytest.raises(DataError, match="not a plain file"):
        CIFAR10.load(folder)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    folder, _ = write(tmp_path, CIFAR10)
    monkeypatch.setattr(cifar, "_MOST_BYTES", 1000)
    with pytest.raises(DataError, match="more than any such file"):
        CIFAR10.load(folder)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference data are not here")
def test_reference_set():
    data = CIFAR10.load(REFERENCE)
    assert data.train_images.shape == (1400, 32, 32, 3) and data.test_images.shape == (397, 32, 32, 3)
    assert np.all(np.bincount(data.test_labels, minlength=10) > 20)
