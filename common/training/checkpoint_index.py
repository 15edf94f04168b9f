"""Looks at the index of a checkpoint before TensorFlow does, which ends the process over an entry that makes no sense.

The index is a LevelDB table: blocks of entries (bytes shared with the key before, own bytes, bytes of the value, own
part of the key, value), each block followed by its type and its sum; at the end a footer that says where the index of
the blocks is. A value is a protocol buffer, BundleEntryProto: 1 type, 2 shape, 3 shard, 4 offset, 5 size, 6 sum,
7 slices. Sums are left to TensorFlow: a file with a wrong one is an ordinary error there.
"""

import math
import os
import struct

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_MOST_BYTES = 1 << 28  # of an index; one of 100,000 variables has 0.01 GB
_ITEM_BYTES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 19: 2, 22: 4, 23: 8}  # number of a type: bytes
_TYPES = range(1, 64)
_VARINT, _FIXED64, _MESSAGE, _FIXED32 = 0, 1, 2, 5
_KINDS = {1: _VARINT, 2: _MESSAGE, 3: _VARINT, 4: _VARINT, 5: _VARINT, 6: _FIXED32, 7: _MESSAGE}


def check(path):
    """Raises ValueError, one line, unless the index of the checkpoint `path` describes tensors that can be there."""
    with open(path + ".index", "rb") as file:
        table = file.read(_MOST_BYTES + 1)
    if not _FOOTER <= len(table) <= _MOST_BYTES:
        raise ValueError(f"an index of {len(table)} bytes")
    try:
        for key, value in _entries(table):
            if key:  # the one without a name describes the whole
                _check_entry(key.decode(), value, path)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError("an index that does not hold together") from error


def _entries(table):
    footer = table[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no index of a checkpoint")
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, value in _block(table, index):
        block, _ = _handle(value, 0)
        yield from _block(table, block)


def _handle(data, at):
    """Returns (offset, size) and where they end."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(table, handle):
    """Yields the keys and values of a block; nothing of one that is compressed, which no TensorFlow writes."""
    offset, size = handle
    if offset + size + 5 > len(table) or size < 4:
        raise ValueError("an index with a block beyond its end")
    if table[offset + size]:
        return
    block = table[offset : offset + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("an index with an entry beyond its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _check_entry(name, value, path):
    entry = {1: 0, 2: b"", 3: 0, 4: 0, 5: 0}
    for field, kind, content in _fields(value):
        if kind != _KINDS.get(field, kind):
            raise ValueError(f"an entry of {name[:60]!r} that does not hold together")
        entry[field] = content
    sizes = [_dimension(content) for field, _, content in _fields(entry[2]) if field == 2]
    if entry[1] not in _TYPES or len(sizes) > 254 or max([math.prod(sizes), *sizes]) >= 1 << 40:
        raise ValueError(f"a tensor {name[:60]!r} of an impossible shape or type")
    if 7 in entry:
        return  # a variable in slices, each with an entry of its own
    expected = math.prod(sizes) * _ITEM_BYTES.get(entry[1], 0)
    files = [file for file in os.listdir(os.path.dirname(path) or ".") if _shard(file, path) == entry[3]]
    there = max((os.path.getsize(os.path.join(os.path.dirname(path), file)) for file in files), default=0)
    if entry[4] + entry[5] > there or (expected and expected != entry[5]):
        place = f"{entry[5]} bytes from byte {entry[4]} on"
        raise ValueError(f"it is damaged: {name[:60]!r} is said to have {place}, which is not what is there")


def _shard(file, path):
    prefix, _, rest = file.rpartition(".data-")
    return int(rest[:5]) if prefix == os.path.basename(path) and rest[:5].isdigit() else None


def _dimension(message):
    """Returns a size of a shape; one below 0 comes as a number of 64 bits, which is too large."""
    return next((content for field, kind, content in _fields(message) if field == 1 and kind == _VARINT), 0)


def _fields(message):
    """Yields (number, kind, content) of the fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            content, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == _MESSAGE else ({_FIXED64: 8, _FIXED32: 4}.get(kind, -1), at)
            if size < 0 or at + size > len(message) or number == 0:
                raise ValueError("an index with an entry that does not hold together")
            content, at = message[at : at + size], at + size
        if number == 0:
            raise ValueError("an index with an entry that does not hold together")
        yield number, kind, content


def _varint(data, at):
    """Returns a number of 7 bits a byte, the lowest first, and where it ends; IndexError if it has no end."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        number, at = number | (byte & 127) << shift, at + 1
        if byte < 128:
            return number, at
    raise IndexError
