"""Fashion-MNIST: known by its contents, whatever the files are called and however they are compressed."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from common.data import fashion_mnist
from common.data.dataset import DataError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, *shape):
    """The bytes of an idx file; its head claims `shape`, or tells the truth."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *(shape or array.shape))
    return head + array.tobytes()


@pytest.fixture(scope="module")
def contents():
    """The files of a set with labels 0 1 2 ... 9 0 1 ... and black images but for a few pixels."""
    made = []
    for count in (60_000, 10_000):
        images = np.zeros([count, 28, 28], np.uint8)
        images[:, 0, 27] = np.arange(count) % 251
        made += [idx(images), idx((np.arange(count) % 10).astype(np.uint8))]
    return dict(zip(FILES, made))


@pytest.fixture(autouse=True)
def no_debian(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")


def write(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def test_images_are_padded_to_32_and_three_channels(tmp_path, contents):
    data = fashion_mnist.load(write(tmp_path, contents))
    assert data.train_images.shape == (60_000, 32, 32, 3) and data.test_images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(data.train_images[:, 2, 29, 1], np.arange(60_000) % 251)
    assert data.train_images.sum() == 3 * (np.arange(60_000) % 251).sum()
    np.testing.assert_array_equal(data.test_labels, np.arange(10_000) % 10)
    assert (data.name, data.classes, data.mirror) == ("fashion_mnist", 10, True)
    assert data.class_names[0] == "T-shirt/top" and data.class_names[9] == "Ankle boot"


def test_names_and_compression_do_not_matter(tmp_path, contents):
    images, labels, test_images, test_labels = contents.values()
    mixed = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte.gz": labels,  # says so, and is not
        "t10k-images.idx3-ubyte.gz": gzip.compress(test_images, 1),
        "t10k-labels.idx1-ubyte": gzip.compress(test_labels),  # compressed, without saying so
    }
    assert fashion_mnist.find([tmp_path]) is None
    folder = write(tmp_path / "fashion-mnist", mixed)
    assert fashion_mnist.find([tmp_path / "nowhere", tmp_path]) == folder == fashion_mnist.find([folder])
    assert fashion_mnist.load(folder).train_labels[17] == 7


def test_debian_s_folder_is_the_last_resort(tmp_path):
    names = dict.fromkeys(FILES, b"")
    debian = write(tmp_path / "debian", names)
    assert fashion_mnist.find([tmp_path / "datasets"]) == debian
    (tmp_path / "datasets").mkdir()
    own = write(tmp_path / "datasets" / "fashion_mnist", names)
    assert fashion_mnist.find([tmp_path / "datasets"]) == own
    (own / FILES[2]).unlink()
    (own / FILES[2]).mkdir()
    assert fashion_mnist.find([tmp_path / "datasets"]) == debian


def test_the_labels_of_mnist_are_known(tmp_path, contents):
    labels = np.arange(60_000) % 10
    labels[0] = 1
    write(tmp_path, contents | {FILES[1]: idx(labels.astype(np.uint8))})
    with pytest.raises(DataError, match=f"{FILES[1]}: has 5999 6001 6000 .* labels a class, expected 6000 .*MNIST's"):
        fashion_mnist.load(tmp_path)
    labels[0] = 255
    write(tmp_path, contents | {FILES[1]: idx(labels.astype(np.uint8))})
    with pytest.raises(DataError, match="labels a class, expected 6000"):
        fashion_mnist.load(tmp_path)


def broken(contents):
    images, labels, test_images, test_labels = contents.values()
    packed = gzip.compress(test_images, 1)
    return {
        "truncated": (0, images[:-5], "has less than 47040000 bytes"),
        "longer": (3, test_labels + b"x", "has more than 10000 bytes"),
        "packed and truncated": (2, packed[: len(packed) // 2], "cannot be read"),
        "packed with a wrong sum": (2, packed[:-6] + b"\0\0" + packed[-4:], "cannot be read"),
        "parts swapped": (1, test_labels, r"says that it holds \[10000\]; expected an idx file of bytes \[60000\]"),
        "images for labels": (1, images, r"begins with b'.*x03'; expected an idx file"),
        "labels for images": (2, test_labels, "begins with b'.*x01'"),
        "a page": (2, b"<!DOCTYPE html><html>", "begins with b'<!DO'"),
        "nothing": (2, b"", "begins with b''"),
        "only a head": (2, test_images[:6], "cannot be read"),
        "integers": (1, labels[:2] + b"\x0c" + labels[3:], "begins with"),
        "other images": (2, idx(np.zeros([10_000, 14, 14], np.uint8)), r"says that it holds \[10000, 14, 14\]"),
        "2^31 images": (0, idx(np.zeros([1, 28, 28], np.uint8), 1 << 31, 28, 28), r"holds \[2147483648, 28, 28\]"),
        "packed 2^31": (0, gzip.compress(idx(np.zeros([1, 1, 1], np.uint8), 1 << 31, 1, 1)), "holds .2147483648, 1, 1"),
    }


def test_what_is_not_the_set_is_one_line_and_nothing_is_allocated(tmp_path, contents):
    for name, (place, data, message) in broken(contents).items():
        path = tmp_path / FILES[place]
        path.write_bytes(data)
        shape = (60_000, 10_000)[place // 2], 28, 28
        tracemalloc.start()
        with pytest.raises(DataError, match=message) as raised:
            fashion_mnist._read(path, shape[: 1 + 2 * (place % 2 == 0)])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value), name
        assert peak < 120e6 and (peak < 2e6 or "2^31" not in name), name


DEBIAN = fashion_mnist.DEBIAN


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's package dataset-fashion-mnist is not here")
def test_debian_s_set():
    data = fashion_mnist.load(DEBIAN)
    mean = data.train_images[:, 2:30, 2:30].mean() / 255
    assert abs(mean - 0.2860) < 1e-4 and list(data.train_labels[:5]) == [9, 0, 0, 3, 0]
