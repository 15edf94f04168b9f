"""Pickles of plain containers and NumPy arrays of integers, read without running what the file says."""

import io
import pickle
import pickletools

import numpy as np

from common.console import one_line

_INTEGERS = {kind + size for kind in "iu" for size in "1248"}


def loads(data):
    """Returns what the pickle `data` (bytes) holds; strings that Python 2 wrote are bytes.

    Arrays come back as such where the pickle is one, or is a dictionary with arrays as values.
    Raises ValueError, one line, for anything but plain containers, numbers, text and integer arrays.
    """
    try:
        for operation, argument, _ in pickletools.genops(data):  # also compares every length with what is there
            if operation.name == "LONG_BINPUT" and argument > len(data):
                raise ValueError("a memo entry that the file cannot hold")  # Python would make room for it
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if isinstance(value, dict):
            return {key: _finished(item) for key, item in value.items()}
        return _finished(value)
    except Exception as error:  # damaged pickles raise many kinds
        raise ValueError(one_line(error)[:200]) from error


class _Unpickler(pickle.Unpickler):
    """Admits the constructors of NumPy arrays, and for each has its own in place of NumPy's.

    numpy.dtype cannot be admitted itself: it believes a state which says that pixels are pointers.
    """

    def find_class(self, module, name):
        core = module.replace("numpy._core", "numpy.core")
        if (core, name) not in _CONSTRUCTORS:
            raise ValueError(f"a reference to {f'{module}.{name}'[:60]!r}, expected NumPy arrays only")
        return _CONSTRUCTORS[core, name]


class _Dtype:
    """An integer type: numpy.dtype(name), then a state (version, byte order, ...)."""

    def __init__(self, name, *_):
        self.name, self.order = _text(name), "="
        if self.name not in _INTEGERS:
            raise ValueError(f"an array of type {self.name[:20]!r}, expected integers")

    def __setstate__(self, state):
        if _text(state[1]) not in ("|", "<", ">"):
            raise ValueError("an array of no known byte order")
        self.order = _text(state[1])

    def read(self, raw):
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, np.dtype(self.order + self.name))


class _Array:
    """An array: an empty one, then a state (version, shape, dtype, in Fortran's order or not, bytes)."""

    value = None

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        shape, dtype, fortran, raw = state[-4:]
        self.value = dtype.read(raw).reshape(shape, order="F" if fortran else "C")


class _FromBuffer(_Array):
    """An array as protocol 5 has it: bytes, dtype, shape, order."""

    def __init__(self, raw, dtype, shape, order):
        self.__setstate__((shape, dtype, order == "F", raw))


class _Call:
    """A call that has no state; without this method a pickle could change the class itself."""

    def __setstate__(self, state):
        raise ValueError("a state, expected plain containers and arrays")


class _Scalar(_Call):
    """A number: dtype, bytes."""

    def __new__(cls, dtype, raw):
        return int(dtype.read(raw)[0])


class _Bytes(_Call):
    """Bytes as Python 3 writes them for Python 2: text, and the codec to encode it with, which is latin-1."""

    def __new__(cls, text, codec="latin1"):
        return text.encode("latin-1")


_CONSTRUCTORS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("_codecs", "encode"): _Bytes,
}


def _text(text):
    if not isinstance(text, (str, bytes)):
        raise ValueError("an array type without a name")
    return text.decode("latin-1") if isinstance(text, bytes) else text


def _finished(value):
    if isinstance(value, _Array) and value.value is None:
        raise ValueError("an array without contents")
    return value.value if isinstance(value, _Array) else value
