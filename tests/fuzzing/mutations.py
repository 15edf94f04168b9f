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


def _change(draw, data, other):
    """Some bytes go, and others come in their place."""
    at = _position(draw, len(data))
    return data[:at] + draw(st.binary(max_size=16)) + data[at + draw(st.integers(0, 64)) :]


def _splice(draw, data, other):
    return data[: _position(draw, len(data))] + other[_position(draw, len(other)) :]


def _length(draw, data, other):
    """A field of 1, 2, 4 or 8 bytes with a number that no such field should have."""
    kind = draw(st.sampled_from("BHIQ"))
    size, order = struct.calcsize(kind), draw(st.sampled_from("<>"))
    at = _position(draw, len(data))
    number = draw(st.sampled_from(_HUGE)) % (1 << 8 * size)
    return data[:at] + struct.pack(order + kind, number) + data[at + size :]


_OPERATIONS = [_truncate, _flip, _flip, _change, _change, _change, _splice, _length, _length]


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
