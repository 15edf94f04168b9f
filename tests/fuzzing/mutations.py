"""Ways to damage a file, as hypothesis strategies."""

import gzip
import struct

from hypothesis import strategies as st

_ENDS = 256  # formats keep what matters at the head and the tail of a file
_HUGE = [0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, 2**63 - 1, -(2**63), 10**6]


def _position(draw, size):
    first = draw(st.sampled_from([0, 0, max(0, size - _ENDS), None]))
    reach = size if first is None else min(_ENDS, size)
    return (first or 0) + draw(st.integers(0, max(0, reach - 1)))


def _truncate(draw, data, other):
    return data[: _position(draw, len(data))]


def _flip(draw, data, other):
    at = _position(draw, len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]


def _replace(draw, data, other):
    at = _position(draw, len(data))
    return data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]


def _insert(draw, data, other):
    at = _position(draw, len(data))
    return data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at:]


def _delete(draw, data, other):
    at = _position(draw, len(data))
    return data[:at] + data[at + draw(st.integers(1, 64)) :]


def _swap(draw, data, other):
    size = draw(st.integers(1, 64))
    first, second = sorted((_position(draw, len(data)), _position(draw, len(data))))
    blocks = data[first : first + size], data[second : second + size]
    if second < first + size:
        return data
    return data[:first] + blocks[1] + data[first + size : second] + blocks[0] + data[second + size :]


def _splice(draw, data, other):
    return data[: _position(draw, len(data))] + other[_position(draw, len(other)) :]


def _length(draw, data, other):
    """A field of 1, 2, 4 or 8 bytes with a number that no such field should have."""
    kind = draw(st.sampled_from("BHIQ"))
    size, order = struct.calcsize(kind), draw(st.sampled_from("<>"))
    at = _position(draw, len(data))
    number = draw(st.sampled_from(_HUGE)) % (1 << 8 * size)
    return data[:at] + struct.pack(order + kind, number) + data[at + size :]


_OPERATIONS = [_truncate, _flip, _flip, _replace, _replace, _insert, _delete, _swap, _splice, _length, _length]


@st.composite
def damaged(draw, files):
    """One of `files`, a list of bytes, after one to four changes."""
    data, other = draw(st.sampled_from(files)), draw(st.sampled_from(files))
    for _ in range(draw(st.integers(1, 4))):
        if data:
            data = draw(st.sampled_from(_OPERATIONS))(draw, data, other)
    return data


@st.composite
def damaged_tar(draw, tars):
    """A .tar.gz that is damaged outside, or inside with sums that are right all the same."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged([gzip.compress(tar, mtime=0) for tar in tars]))
    tar = draw(damaged(tars))
    if draw(st.integers(0, 3)):
        tar = _with_tar_sums(tar)
    return gzip.compress(tar, 1, mtime=0)


def _with_tar_sums(tar):
    """Gives every block that says it is a tar header the sum that belongs to it."""
    blocks = [tar[at : at + 512] for at in range(0, len(tar), 512)]
    for index, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            total = sum(block[:148]) + 8 * 32 + sum(block[156:])
            blocks[index] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


@st.composite
def damaged_table(draw, tables):
    """An index of a checkpoint that is damaged, or whose first block is and has the sum that belongs to it."""
    if draw(st.booleans()):
        return draw(damaged(tables))
    table = draw(st.sampled_from(tables))
    return with_first_block(table, draw(damaged([first_block(table) for table in tables]))[: len(first_block(table))])


def first_block(table):
    """The first block of a table: its length stands in the index block, as LevelDB has it."""
    footer = table[-48:]
    numbers, at = [], 0
    for _ in range(4):
        number, at = _varint(footer, at)
        numbers.append(number)
    index = table[numbers[2] : numbers[2] + numbers[3]]
    _, at = _varint(index, 0)  # one entry: shared, own and value length, key, value = a handle
    own, at = _varint(index, at)
    _, at = _varint(index, at)
    start, at = _varint(index, at + own)
    return table[start : start + _varint(index, at)[0]]


def with_first_block(table, block):
    """The table with its first block replaced by one as long or shorter, padded, with the right sum."""
    size = len(first_block(table))
    block = block + bytes(size - len(block))
    kind = table[size : size + 1]
    return block + kind + struct.pack("<I", _masked(_crc32c(block + kind))) + table[size + 5 :]


def _varint(data, at):
    number, shift = 0, 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def _crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
