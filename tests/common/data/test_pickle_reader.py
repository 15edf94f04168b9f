"""Pickles: what is read, and what is refused without being run."""

import codecs
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest

from common.data import pickle_reader

VALUES = {
    "data": np.arange(12, dtype=np.uint8).reshape(3, 4),
    b"labels": [1, 2, 300, 70000, 2**40, -1],
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">u2"),
    "rest": [None, True, False, 1.5, "é☃", b"\xff\x00", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_arrays_come_back(protocol):
    loaded = pickle_reader.loads(pickle.dumps(VALUES, protocol))
    assert loaded.keys() == VALUES.keys()
    assert loaded["rest"] == VALUES["rest"] and loaded[b"labels"] == VALUES[b"labels"]
    for name in ("data", "columns first", "big-endian"):
        np.testing.assert_array_equal(loaded[name], VALUES[name])
        assert loaded[name].dtype == VALUES[name].dtype


def test_an_array_of_its_own_comes_back():
    np.testing.assert_array_equal(pickle_reader.loads(pickle.dumps(VALUES["data"], 2)), VALUES["data"])


@pytest.mark.parametrize("core", ["core", "_core"])
def test_python_2_strings_come_back_one_character_a_byte(core):
    """What Python 2 and its NumPy wrote: names and contents as byte strings."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    raw = bytes(range(250, 256))
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    state = b"(K\x01K\x02K\x03\x86" + dtype + b"J\xff\xff\xff\xffK\x00tb\x89" + text(raw) + b"tb"
    start = f"cnumpy.{core}.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t".encode() + text(b"b") + b"tR"
    loaded = pickle_reader.loads(b"\x80\x02}(" + text(b"data") + start + state + b"u.")
    np.testing.assert_array_equal(loaded["data"], np.frombuffer(raw, np.uint8).reshape(2, 3))


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class _Ordinary:
    pass


def hostile(folder):
    """Pickles that would do harm, or could, in the hands of Python's own unpickler."""
    mark = str(folder / "mark")
    return {
        "system": pickle.dumps(_Calls(os.system, f"touch {mark}")),
        "eval": pickle.dumps(_Calls(eval, f"open({mark!r}, 'w')"), 2),
        "nested": pickle.dumps({"data": [_Calls(getattr, _Calls(__import__, "os"), "system")]}, 4),
        "subprocess": pickle.dumps(_Calls(subprocess.Popen, ["touch", mark])),
        "inst": b"(S'touch " + mark.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'touch " + mark.encode() + b"'\no.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pname\n.",
        "instance": pickle.dumps(_Ordinary(), 2),
        "numpy function": b"cnumpy\nload\n(S'x'\ntR.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile\x93.",
        "encode with another codec's module": b"c_codecs\ndecode\n(S'x'\ntR.",
        "calling the array class": b"cnumpy\nndarray\n(I99999999999\ntR.",
        "calling a number": b"K\x01(tR.",
        "object array": pickle.dumps(np.array([{}, []], object)),
        "float array": pickle.dumps(np.zeros(3)),
        "structured": pickle.dumps(np.zeros(3, "u1,u2")),
        "state for a list": b"]}b.",
        "tuple as key": b"}))\x86K\x01s.",
        "odd items": b"}(K\x01u.",
        "list in no list": b"K\x01K\x02a.",
        "codec": pickle.dumps(_Calls(codecs.open, mark, "w")),
    }


def test_hostile_pickles_are_refused_and_not_run(tmp_path):
    for name, data in hostile(tmp_path).items():
        with pytest.raises(ValueError) as raised:
            pickle_reader.loads(data)
            pytest.fail(name)
        assert "\n" not in str(raised.value), name
    assert list(tmp_path.iterdir()) == []


def test_claims_of_huge_sizes_cost_nothing():
    huge = struct.pack("<Q", 1 << 45)
    array = pickle.dumps(np.zeros([2, 2], np.uint8), 2)
    for data in (
        b"\x80\x04\x8e" + huge + b"x.",  # bytes
        b"\x80\x05\x96" + huge + b"x.",  # bytearray
        b"\x80\x04\x8d" + huge + b"x.",  # text
        b"\x80\x02T\xff\xff\xff\x7fx.",  # Python 2's text
        b"\x80\x02K\x01r\xff\xff\xff\xff",  # a place in the memo far out
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",  # a whole number
        array.replace(b"K\x02K\x02\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),  # the shape of an array
        array.replace(b"K\x02K\x02\x86", b"K\x02K\x00\x86"),
    ):
        with pytest.raises(ValueError):
            pickle_reader.loads(data)


def test_one_text_asked_for_many_times_is_refused():
    text = b"\x80\x02X" + struct.pack("<I", 1 << 16) + b"a" * (1 << 16) + b"q\x010"
    again = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R0"
    with pytest.raises(ValueError, match="more text than the file holds"):
        pickle_reader.loads(text + 10 * again + b"N.")


def test_too_many_operations_are_refused(monkeypatch):
    monkeypatch.setattr(pickle_reader, "_MOST_OPERATIONS", 1000)
    with pytest.raises(ValueError, match="more than 1000 operations"):
        pickle_reader.loads(b"]" * 2000 + b".")


def test_deep_nesting_is_no_danger():
    deep = b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(pickle_reader.loads(deep), list)
    with pytest.raises(ValueError):
        pickle_reader.loads(b"})" + b"\x85" * 100_000 + b"K\x01s.")


def test_every_truncation_is_a_one_line_error():
    data = pickle.dumps(VALUES, 2)
    for end in range(len(data)):
        with pytest.raises(ValueError) as raised:
            pickle_reader.loads(data[:end])
        assert "\n" not in str(raised.value)


def test_flipped_bytes_give_a_value_or_a_one_line_error():
    data = bytearray(pickle.dumps(VALUES, 4))
    generator = np.random.RandomState(0)
    for _ in range(2000):
        mutated = bytearray(data)
        for position in generator.randint(0, len(data), 3):
            mutated[position] = generator.randint(256)
        try:
            pickle_reader.loads(bytes(mutated))
        except ValueError:
            pass
