"""Reads pickles that hold plain containers and NumPy arrays of integers, and nothing else.

A pickle is a program. Python's own unpickler runs it; the reader here only takes it apart, with `pickletools.genops`,
and builds the few things that the files of CIFAR consist of. A name in the file is never imported and never called: it
is looked up in the short table of pickled_arrays.py, which has its own lines for each. Whatever a file claims, memory
and time stay bounded by its size.
"""

import io
import pickletools

from common.data.pickled_arrays import NAMES, Array, Builder

_MOST_OPERATIONS = 2_000_000  # a file of 50,000 images has about 250,000

_PLAIN = {
    *("PROTO FRAME INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING").split(),
    *("BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8").split(),
    *("FLOAT BINFLOAT").split(),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_MARK = object()


def loads(data):
    """Returns what the pickle `data` (bytes) holds: dict, list, tuple, str, bytes, int, float, bool, None, ndarray.

    Strings that Python 2 wrote come back as str, one character a byte (latin-1). Raises ValueError, one line, for
    anything else: other types, other names, truncated or inconsistent contents.
    """
    try:
        return _finished(_Machine(len(data)).run(data))
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"inconsistent pickle ({type(error).__name__})") from error


class _Machine:
    """The stack machine that a pickle is written for, without its power to call anything."""

    def __init__(self, size):
        self.stack, self.memo = [], {}
        self.builder = Builder(size)

    def run(self, data):
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            name = opcode.name
            if count > _MOST_OPERATIONS:
                raise ValueError(f"more than {_MOST_OPERATIONS} operations")
            if name in ("PROTO", "FRAME"):
                continue
            if name == "STOP":
                return self.stack.pop()
            if name in _PLAIN:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            else:
                action = getattr(self, f"_{name.lower()}", None)
                if action is None:
                    raise ValueError(f"operation {name}, expected plain containers and arrays")
                action(argument)
        raise ValueError("no end")

    def _pop_to_mark(self):
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:
            position -= 1
        items = self.stack[position + 1 :]
        del self.stack[position:]
        return items

    def _memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def _mark(self, _):
        self.stack.append(_MARK)

    def _pop(self, _):
        self.stack.pop()

    def _tuple(self, _):
        self.stack.append(tuple(self._pop_to_mark()))

    def _list(self, _):
        self.stack.append(self._pop_to_mark())

    def _dict(self, _):
        items = self._pop_to_mark()
        self.stack.append({})
        self._set(items)

    def _tuple1(self, _):
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def _tuple2(self, _):
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _):
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _append(self, _):
        self._extend([self.stack.pop()])

    def _appends(self, _):
        self._extend(self._pop_to_mark())

    def _extend(self, items):
        if type(self.stack[-1]) is not list:
            raise ValueError("items for what is no list")
        self.stack[-1].extend(items)

    def _setitem(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _setitems(self, _):
        self._set(self._pop_to_mark())

    def _set(self, items):
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(target) is not dict or type(key) not in (str, bytes, int):  # hashing a deep tuple ends the process
                raise ValueError("a dictionary with keys other than names")
            target[key] = value

    def _global(self, argument):
        self._refer(*argument.split(" ", 1))

    def _stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self._refer(module, name)

    def _refer(self, module, name):
        # Text first: a few bytes can hold a tuple of 2^60 parts, which to hash or to show would take for ever.
        if type(module) is not str or type(name) is not str:
            raise ValueError("a reference without a name")
        if (module, name) not in NAMES:
            raise ValueError(f"a reference to {f'{module}.{name}'[:60]!r}, expected NumPy arrays only")
        self.stack.append(NAMES[module, name])

    def _reduce(self, _):
        arguments, name = self.stack.pop(), self.stack.pop()
        self.stack.append(self.builder.call(name, arguments))

    def _build(self, _):
        state, target = self.stack.pop(), self.stack.pop()
        self.stack.append(self.builder.state(target, state))


def _finished(value):
    """Returns `value` with the arrays in it, or in the dictionary that it is, in place of their constructions."""
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, Array) else item for key, item in value.items()}
    return value.value if isinstance(value, Array) else value
