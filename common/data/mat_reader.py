"""The images and labels of an SVHN .mat file.

scipy hands out a variable as a whole, and the images of the largest file, beside the array they are copied to, would
double the memory of the set; and on a hostile file it ends the process. So this reads the two variables, X, uint8
[32, 32, 3, N], and y, N numbers, from MATLAB's level 5 format (The MathWorks, "MAT-File Format"): a header of 128
bytes, then elements of a tag (type, size) and contents, a variable being an element that may be compressed. MATLAB
stores the first axis fastest, so one image after the other.
"""

import struct
import zlib

import numpy as np

_HEADER, _LITTLE_ENDIAN = 128, b"\x00\x01IM"
_UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 2, 5, 6, 14, 15  # types of elements
# Types of numbers, whatever the class of the variable: MATLAB stores doubles that are small whole numbers as uint8.
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_NUMERIC_CLASSES = range(6, 16)
_UINT8_CLASS = 9  # type of a variable
_SHAPE = (32, 32, 3)
_IMAGE = 32 * 32 * 3
_CHUNK = 1 << 16
_MOST_IMAGES = 1_000_000  # the largest real file has 531,131


def count(path):
    """Returns the number of images in the file; raises ValueError, one line, if it holds no such variable."""
    with open(path, "rb") as file:
        return _images(file)[1]


def labels(path):
    """Returns the values of y, a NumPy array [N] of numbers; raises ValueError, one line, if there is none."""
    with open(path, "rb") as file:
        read, of_class, sizes = _variable(file, b"y")
        number = max(sizes) if len(sizes) == 2 and min(sizes) == 1 else 0
        kind, size, rest = _tag(read)
        if of_class not in _NUMERIC_CLASSES or kind not in _NUMBERS or not 1 <= number <= _MOST_IMAGES:
            raise ValueError(f"y has the shape {list(sizes)} and the type {kind}, expected a column of numbers")
        dtype = np.dtype(_NUMBERS[kind])
        if size != number * dtype.itemsize:
            raise ValueError(f"y has {size} bytes for {number} labels")
        values = np.frombuffer(rest[:size] if rest is not None else read(size), dtype)
        _to_the_end(read)
        return values


def blocks(path, images=1000):
    """Yields the images of the file in their order, uint8 [up to `images`, 32, 32, 3].

    Raises ValueError, one line, if the file is not what it should be, at the latest where that shows.
    """
    with open(path, "rb") as file:
        read, total = _images(file)
        for first in range(0, total, images):
            number = min(images, total - first)
            columns_first = np.frombuffer(read(number * _IMAGE), np.uint8).reshape(number, 3, 32, 32)
            yield columns_first.transpose(0, 3, 2, 1)
        _to_the_end(read)


def _to_the_end(read):
    """Reads what follows the numbers of a variable: padding, and the sum that zlib compares when it gets there."""
    try:
        read(_CHUNK)
    except EOFError:
        pass


def _images(file):
    """Goes to the contents of X and returns what reads them, and the number of images."""
    read, of_class, sizes = _variable(file, b"X")
    sizes += (1,) * (4 - len(sizes))  # MATLAB drops a last axis of 1
    kind, size, _ = _tag(read)
    if of_class != _UINT8_CLASS or kind != _UINT8 or sizes[:3] != _SHAPE or len(sizes) != 4 or sizes[3] < 1:
        raise ValueError(f"X has the shape {list(sizes)} and the type {kind}, expected uint8 [32, 32, 3, images]")
    if sizes[3] > _MOST_IMAGES:
        raise ValueError(f"X has {sizes[3]} images, more than any such file")
    if size != sizes[3] * _IMAGE:
        raise ValueError(f"X has {size} bytes for {sizes[3]} images")
    return read, sizes[3]


def _variable(file, wanted):
    """Goes to the numbers of a variable and returns what reads them, the variable's class and its sizes."""
    if file.read(_HEADER)[-4:] != _LITTLE_ENDIAN:
        raise ValueError("no MATLAB file of level 5")
    try:
        while True:
            kind, size = struct.unpack("<II", _exactly(file.read, 8))
            end = file.tell() + size
            read = _inflater(file, size) if kind == _COMPRESSED else lambda number: _exactly(file.read, number)
            if kind == _COMPRESSED:
                kind, _ = struct.unpack("<II", read(8))
            if kind == _MATRIX:
                flags, shape, name = _element(read, _UINT32), _element(read, _INT32), _element(read, None)
                if name == wanted:
                    return read, flags[0], struct.unpack(f"<{len(shape) // 4}i", shape[: len(shape) // 4 * 4])
            file.seek(end)
    except EOFError as error:
        raise ValueError(f"ends before a variable {wanted.decode()}") from error


def _tag(read):
    """Reads the tag of an element: its type, its size, and its contents if they are in the tag itself, else None."""
    word, size = struct.unpack("<II", read(8))
    if word >> 16:  # the short form: type and size in one word, up to four bytes in the other
        return word & 0xFFFF, word >> 16, struct.pack("<I", size)
    return word, size, None


def _element(read, expected):
    """Returns the contents of a small element, and skips its padding to a multiple of 8 bytes."""
    kind, size, contents = _tag(read)
    if expected not in (None, kind) or not 0 < size <= 256:
        raise ValueError(f"an element of type {kind} and size {size} in the head of a variable")
    return contents[:size] if contents is not None else read(size + -size % 8)[:size]


def _exactly(read, number):
    contents = read(number)
    if len(contents) < number:
        raise EOFError
    return contents


def _inflater(file, size):
    """Returns a function that reads so many bytes of the compressed element of `size` bytes that begins here."""
    inflate, left = zlib.decompressobj(), size

    def read(number):
        nonlocal left
        parts = []
        while number:
            packed = inflate.unconsumed_tail or file.read(min(_CHUNK, left))
            left -= 0 if inflate.unconsumed_tail else len(packed)
            try:
                parts.append(inflate.decompress(packed, number))
            except zlib.error as error:
                raise ValueError(f"damaged compressed data ({error})") from error
            number -= len(parts[-1])
            if not packed and not parts[-1]:
                raise EOFError
        return b"".join(parts)

    return read
