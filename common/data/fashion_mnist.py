"""Fashion-MNIST (Xiao, Rasul & Vollgraf, 2017) from its four idx files, as 32 x 32 x 3 images."""

import gzip
import pathlib
import struct
import zlib

import numpy as np

from common.console import one_line
from common.data.dataset import DataError, Dataset

NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
FOLDER = "fashion_mnist"

_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_SIDE, _BORDER = 28, 2


def find(folders):
    """Returns the first place with the four files, or None: one of `folders`, their folder fashion_mnist, Debian's."""
    names = (FOLDER, "fashion-mnist", ".")
    places = [pathlib.Path(folder) / name for folder in folders for name in names] + [DEBIAN]
    return next((place for place in places if all(_path(place, name) for name in _FILES)), None)


def load(folder):
    """Returns the data set of the four files in `folder`; images are padded by 2 black pixels on each side.

    Files may be compressed or not, whatever their names say. They are known by their contents, as Debian compresses
    them anew. Raises DataError, one line naming the file, unless they are 60,000 and 10,000 images of 28 x 28 with
    6,000 and 1,000 labels a class. That tells them from MNIST, whose files have the same names and sizes.
    """
    train_images, train_labels, test_images, test_labels = (_path(folder, name) for name in _FILES)
    train, test = _part(train_images, train_labels, 6000), _part(test_images, test_labels, 1000)
    return Dataset("fashion_mnist", len(NAMES), *train, *test, mirror=True, class_names=NAMES)


def _path(folder, name):
    """Returns the path of a file, whose name may have a dot in place of the last dash, and may end in .gz, or None."""
    names = [f"{stem}-ubyte{ending}" for stem in (name, ".".join(name.rsplit("-", 1))) for ending in (".gz", "")]
    return next((pathlib.Path(folder) / name for name in names if (pathlib.Path(folder) / name).is_file()), None)


def _part(images, labels, a_class):
    """Returns images uint8 [N, 32, 32, 3] and labels int32 [N] of two files."""
    count = a_class * len(NAMES)
    pixels, numbers = _read(images, (count, _SIDE, _SIDE)), _read(labels, (count,))
    counts = np.bincount(numbers, minlength=len(NAMES))
    if list(counts) != [a_class] * len(NAMES):
        raise DataError(
            f"{labels}: has {' '.join(map(str, counts[:20]))} labels a class, expected {a_class} of each of"
            f" {len(NAMES)}; these are not the labels of Fashion-MNIST (are they MNIST's?)"
        )
    inside = slice(_BORDER, _BORDER + _SIDE)
    padded = np.zeros([count, _SIDE + 2 * _BORDER, _SIDE + 2 * _BORDER, 3], np.uint8)
    padded[:, inside, inside] = pixels[..., None]
    return padded, numbers.astype(np.int32)


def _read(path, shape):
    """Returns the array uint8 of `shape` that an idx file holds; nothing is allocated that its head only claims."""
    expected = f"expected an idx file of bytes {list(shape)}, as Fashion-MNIST has it; get it again"
    size = int(np.prod(shape))
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            head = file.read(4 + 4 * len(shape))
            if head[:4] != bytes([0, 0, 8, len(shape)]):
                raise DataError(f"{path}: begins with {head[:4]!r}; {expected}")
            found = struct.unpack(f">{len(shape)}I", head[4:])
            if found != shape:
                raise DataError(f"{path}: says that it holds {list(found)}; {expected}")
            contents = file.read(size + 1)  # to the end, where the sum of a compressed file stands
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}); {expected}") from error
    if len(contents) != size:
        raise DataError(f"{path}: has {'more' if len(contents) > size else 'less'} than {size} bytes; {expected}")
    return np.frombuffer(contents, np.uint8).reshape(shape)
