"""The images of an SVHN .mat file, in blocks.

scipy hands out a variable as a whole, and that of the largest file, beside the array it is copied to, would double the
memory of the set. So this reads the one variable X, uint8 [32, 32, 3, N], from MATLAB's level 5 format (The MathWorks,
"MAT-File Format"): a header of 128 bytes, then elements of a tag (type, size) and contents, a variable being an element
that may be compressed. MATLAB stores the first axis fastest, so one image after the other.
"""

import struct
import zlib

import numpy as np

_HEADER, _LITTLE_ENDIAN = 128, b"\x00\x01IM"
_UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 2, 5, 6, 14, 15  # types of elements
_UINT8_CLASS = 9  # type of a variable
_SHAPE = (32, 32, 3)
_IMAGE = 32 * 32 * 3
_CHUNK = 1 << 16


def count(path):
    """Returns the number of images in the file; raises ValueError, one line, if it holds no such variable."""
    with open(path, "rb") as file:
        return _start(file)[1]


def blocks(path, images=1000):
    """Yields the images of the file in their order, uint8 [up to `images`, 32, 32, 3].

    Raises ValueError, one line, if the file is not what it should be, at the latest where that shows.
    """
    with open(path, "rb") as file:
        read, total = _start(file)
        for first in range(0, total, images):
            number = min(images, total - first)
            columns_first = np.frombuffer(read(number * _IMAGE), np.uint8).reshape(number, 3, 32, 32)
            yield columns_first.transpose(0, 3, 2, 1)
        try:
            read(_CHUNK)  # padding, and the checksum of a compressed variable, which zlib compares here
        except EOFError:
            pass


def _start(file):
    """Goes to the contents of X and returns what reads them, and the number of images."""
    try:
        if file.read(_HEADER)[-4:] != _LITTLE_ENDIAN:
            raise ValueError("no MATLAB file of level 5")
        while True:
            kind, size = struct.unpack("<II", _exactly(file.read, 8))
            end = file.tell() + size
            read = _inflater(file, size) if kind == _COMPRESSED else lambda number: _exactly(file.read, number)
            if kind == _COMPRESSED:
                kind, _ = struct.unpack("<II", read(8))
            if kind == _MATRIX:
                number = _images_of_x(read)
                if number:
                    return read, number
            file.seek(end)
    except EOFError as error:
        raise ValueError("ends before a variable X") from error


def _images_of_x(read):
    """Reads the head of a variable; returns the number of its images if it is X, and otherwise 0."""
    flags, shape, name = _element(read, _UINT32), _element(read, _INT32), _element(read, None)
    if name != b"X":
        return 0
    sizes = struct.unpack(f"<{len(shape) // 4}i", shape)
    sizes += (1,) * (4 - len(sizes))  # MATLAB drops a last axis of 1
    kind, size = struct.unpack("<II", read(8))
    if flags[:1] != bytes([_UINT8_CLASS]) or kind != _UINT8 or sizes[:3] != _SHAPE or len(sizes) != 4 or sizes[3] < 1:
        raise ValueError(f"X has the shape {list(sizes)} and the type {kind}, expected uint8 [32, 32, 3, images]")
    if size != sizes[3] * _IMAGE:
        raise ValueError(f"X has {size} bytes for {sizes[3]} images")
    return sizes[3]


def _element(read, expected):
    """Returns the contents of a small element, and skips its padding to a multiple of 8 bytes."""
    word, size = struct.unpack("<II", read(8))
    if word >> 16:  # the short form: type and size in one word, up to four bytes in the other
        return struct.pack("<I", size)[: word >> 16]
    if expected not in (None, word) or size > 256:
        raise ValueError(f"an element of type {word} and size {size} in the head of a variable")
    return read(size + -size % 8)[:size]


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
