"""Integer arrays as NumPy pickles them, rebuilt without calling anything that the pickle names.

A pickled array is a call of `_reconstruct` for an empty array and a state to fill it with (protocols up to 4), or a
call of `_frombuffer` (protocol 5). The few names that occur are looked up in `NAMES`; what they mean is written here.
"""

import enum
import math

import numpy as np


class Name(enum.Enum):
    """What a pickle may refer to."""

    RECONSTRUCT = "_reconstruct"
    FROM_BUFFER = "_frombuffer"
    ARRAY = "ndarray"
    DTYPE = "dtype"
    ENCODE = "encode"


NAMES = {
    ("numpy", "ndarray"): Name.ARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("_codecs", "encode"): Name.ENCODE,  # bytes, as Python 3 writes them for Python 2
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Name.RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name.FROM_BUFFER for core in ("core", "_core")},
}
_TYPES = {kind + size for kind in "iu" for size in "1248"}
_ORDERS = ("|", "<", ">")


class Array:
    """An array under construction: made first and filled later. `value` is the NumPy array, or None before that."""

    value = None


class _Dtype:
    """An integer type under construction: its name, such as u1, and its byte order."""

    def __init__(self, name):
        self.name, self.order = _text(name), "="
        if self.name not in _TYPES:
            raise ValueError(f"an array of type {self.name[:20]!r}, expected integers")

    def value(self):
        return np.dtype(self.order + self.name)


class Builder:
    """Does what a pickle of arrays asks for; `budget` is how many bytes may be converted from text in all."""

    def __init__(self, budget):
        self._budget = budget  # a file can ask for one text many times

    def call(self, name, arguments):
        """Returns what calling the `Name` with a tuple of arguments stands for."""
        if type(arguments) is tuple and name is Name.DTYPE:
            return _Dtype(arguments[0])
        if type(arguments) is tuple and name is Name.RECONSTRUCT:
            return Array()
        if type(arguments) is tuple and name is Name.ENCODE:
            return self._bytes(arguments[0])
        if type(arguments) is tuple and name is Name.FROM_BUFFER:
            raw, dtype, shape, order = arguments
            return self._filled(Array(), shape, dtype, order == "F", raw)
        raise ValueError("a call, expected plain containers and arrays")

    def state(self, target, state):
        """Returns `target`, an array or a type, after giving it its state."""
        if isinstance(target, Array):
            return self._filled(target, *state[-4:])
        if isinstance(target, _Dtype) and _text(state[1]) in _ORDERS:
            target.order = _text(state[1])
            return target
        raise ValueError("a state, expected plain containers and arrays")

    def _filled(self, array, shape, dtype, fortran, raw):
        raw, dtype = self._bytes(raw), dtype.value()
        if len(shape) > 8 or any(type(size) is not int or not 1 <= size <= len(raw) for size in shape):
            raise ValueError("an array of impossible shape")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array of {len(raw)} bytes that claims the shape {list(shape)}")
        array.value = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
        return array

    def _bytes(self, text):
        """Returns bytes as they are, and text one byte a character."""
        if isinstance(text, (bytes, bytearray)):
            return text
        self._budget -= len(text)
        if self._budget < 0:
            raise ValueError("more text than the file holds")
        return text.encode("latin-1")


def _text(text):
    if not isinstance(text, (str, bytes)):  # showing anything else may take for ever
        raise ValueError("an array type without a name")
    return text.decode("latin-1") if isinstance(text, bytes) else text
