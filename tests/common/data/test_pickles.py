"""Pickles: what is read, and what is refused without being run."""

import os
import pickle
import struct

import numpy as np
import pytest

from common.data import pickles
from tests.fuzzing.files import Calls

VALUES = {
    "data": np.arange(12, dtype=np.uint8).reshape(3, 4),
    b"labels": [1, 2, 300, 70000, 2**40, -1],
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">u2"),
    "numbers": [np.int64(3), np.uint8(200)],
    "rest": [None, True, False, 1.5, "é☃", b"\xff\x00", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_arrays_come_back(protocol):
    loaded = pickles.loads(pickle.dumps(VALUES, protocol))
    assert loaded.keys() == VALUES.keys()
    assert loaded["rest"] == VALUES["rest"] and loaded[b"labels"] == VALUES[b"labels"]
    assert loaded["numbers"] == [3, 200] and type(loaded["numbers"][0]) is int
    for name in ("data", "columns first", "big-endian"):
        np.testing.assert_array_equal(loaded[name], VALUES[name])
        assert loaded[name].dtype == VALUES[name].dtype


def test_an_array_of_its_own_comes_back():
    np.testing.assert_array_equal(pickles.loads(pickle.dumps(VALUES["data"], 2)), VALUES["data"])


@pytest.mark.parametrize("core", ["core", "_core"])
def test_python_2_strings_come_back_as_bytes(core):
    """What Python 2 and its NumPy wrote: names and contents as byte strings."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    raw = bytes(range(250, 256))
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    state = b"(K\x01K\x02K\x03\x86" + dtype + b"J\xff\xff\xff\xffK\x00tb\x89" + text(raw) + b"tb"
    start = f"cnumpy.{core}.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t".encode() + text(b"b") + b"tR"
    loaded = pickles.loads(b"\x80\x02}(" + text(b"data") + start + state + b"u.")
    np.testing.assert_array_equal(loaded[b"data"], np.frombuffer(raw, np.uint8).reshape(2, 3))


class Ordinary:
    pass


ARRAY = pickle.dumps(np.zeros([2, 2], np.uint8), 2)
REFUSED = {
    "instance": pickle.dumps(Ordinary(), 2),
    "eval": pickle.dumps(Calls(eval, "1"), 2),
    "nested": pickle.dumps({"data": [Calls(getattr, Calls(__import__, "os"), "system")]}, 4),
    "NumPy's own pickles": b"cnumpy\nload\n(S'x'\ntR.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile\x93.",
    "decode": b"c_codecs\ndecode\n(S'x'\ntR.",
    "an array of a size alone": b"cnumpy\nndarray\n(I99999999999\ntR.",
    "object array": pickle.dumps(np.array([{}, []], object)),
    "float array": pickle.dumps(np.zeros(3)),
    "structured": pickle.dumps(np.zeros(3, "u1,u2")),
    "a type of several": ARRAY.replace(b"|", b"9"),
    "state for a class": b"c_codecs\nencode\n(N}tb.",
    "persistent": b"Pname\n.",
    "extension": b"\x80\x02\x82\x01.",
    "shape of more than there is": ARRAY.replace(b"K\x02K\x02\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
    "no shape": ARRAY.replace(b"K\x02K\x02\x86", b"K\x02K\x00\x86"),
    "bytes of a size": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 45) + b"x.",
    "bytearray of a size": b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b"x.",
    "text of Python 2 of a size": b"\x80\x02T\xff\xff\xff\x7fx.",
    "memo far out": b"\x80\x02K\x01r\xff\xff\xff\xff.",
    "number of a size": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_in_one_line(name):
    with pytest.raises(ValueError) as raised:
        pickles.loads(REFUSED[name])
    assert str(raised.value) and "\n" not in str(raised.value)


def test_nothing_is_run(tmp_path):
    command = f"touch {tmp_path / 'mark'}"
    by_hand = [b"(S'%b'\nios\nsystem\n.", b"(cos\nsystem\nS'%b'\no.", b"cposix\nsystem\n(S'%b'\ntR."]
    written = [pickle.dumps(Calls(os.system, command), protocol) for protocol in range(5)]
    for data in [text % command.encode() for text in by_hand] + written:
        with pytest.raises(ValueError, match="system', expected NumPy arrays only"):
            pickles.loads(data)
    assert list(tmp_path.iterdir()) == []


def test_every_truncation_is_a_one_line_error():
    data = pickle.dumps(VALUES, 2)
    for end in range(len(data)):
        with pytest.raises(ValueError) as raised:
            pickles.loads(data[:end])
        assert "\n" not in str(raised.value)


def test_flipped_bytes_give_a_value_or_a_one_line_error():
    data = bytearray(pickle.dumps(VALUES, 4))
    generator = np.random.RandomState(0)
    for _ in range(1000):
        mutated = bytearray(data)
        for position in generator.randint(0, len(data), 3):
            mutated[position] = generator.randint(256)
        try:
            pickles.loads(bytes(mutated))
        except ValueError as error:
            assert "\n" not in str(error)
