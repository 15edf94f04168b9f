"""Tar archives: the wanted files are unpacked, and nothing else ever is."""

import gzip
import io
import os
import tarfile

import pytest

from common.data import archive
from common.data.dataset import DataError
from tests.fuzzing.files import header, member

GOOD = [member("set", tarfile.DIRTYPE, mode=0o755), member("set/a", contents=b"one"), member("set/b", contents=b"two")]
DAMAGED = "x.tar.gz: is damaged or no .tar.gz .*; get it again"


def write(path, members, format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w:gz", format=format) as tar:
        for info, contents in members:
            tar.addfile(info, io.BytesIO(contents))
    return path


@pytest.fixture
def place(tmp_path):
    """A folder within a folder, so that what escapes is seen."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def everything(place):
    return sorted(str(path.relative_to(place.parent)) for path in place.parent.rglob("*"))


def refused(place, message, names=("a", "b")):
    """The error is one line, and nothing is left."""
    before = everything(place)
    with pytest.raises(DataError, match=message) as raised:
        archive.unpack(place / "x.tar.gz", "set", names)
    assert "\n" not in str(raised.value) and everything(place) == before


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_wanted_files_are_unpacked(place, format):
    others = [member(name, contents=b"x") for name in ("set/readme.html", "readme", "set/deep/a", "other/" + 150 * "x")]
    assert archive.unpack(write(place / "x.tar.gz", GOOD + others, format), "set", ["a", "b"]) == place / "set"
    assert everything(place) == ["data", "data/set", "data/set/a", "data/set/b", "data/x.tar.gz"]
    assert (place / "set" / "a").read_bytes() == b"one" and (place / "set" / "b").read_bytes() == b"two"


def test_names_that_begin_with_a_dot_are_the_same(place):
    archive.unpack(write(place / "x.tar.gz", [member("./set/a", contents=b"1")]), "set", ["a"])
    assert (place / "set" / "a").read_bytes() == b"1"


HOSTILE = {
    "parent": [member("../outside", contents=b"x")],
    "parent inside": [member("set/../../outside", contents=b"x")],
    "absolute": [member("/tmp/outside-of-the-test", contents=b"x")],
    "link to the parent": [member("set/d", tarfile.SYMTYPE, linkname="../.."), member("set/d/outside", contents=b"x")],
    "folder that is a link": [member("set", tarfile.SYMTYPE, linkname=".."), member("set/outside", contents=b"x")],
    "a file again as a link": [member("set/a", tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a file again as a hard link": [member("set/a", tarfile.LNKTYPE, linkname="../../etc/passwd")],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("first", [True, False])
def test_hostile_members_are_passed_over(place, name, first):
    write(place / "x.tar.gz", HOSTILE[name] + GOOD if first else GOOD + HOSTILE[name])
    archive.unpack(place / "x.tar.gz", "set", ["a", "b"])
    assert everything(place) == ["data", "data/set", "data/set/a", "data/set/b", "data/x.tar.gz"]
    assert (place / "set" / "a").read_bytes() == b"one" and not (place / "set" / "a").is_symlink()
    assert not os.path.exists("/tmp/outside-of-the-test")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_wanted_file_that_is_no_plain_file_is_missing(place, kind):
    write(place / "x.tar.gz", [member("set/b", kind, linkname="/etc/passwd"), GOOD[1]])
    refused(place, "has no set/b, expected 2 files")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE])
@pytest.mark.parametrize("size", [1 << 24, 1 << 40])
def test_what_claims_or_unpacks_to_too_much_is_refused(place, kind, size, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_BYTES", 1 << 20)
    (place / "x.tar.gz").write_bytes(gzip.compress(header("set/a", kind, size) + bytes(1 << 24), 1))
    refused(place, DAMAGED)


def test_too_many_members_are_refused(place, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 5)
    write(place / "x.tar.gz", GOOD * 3)
    refused(place, "more than")


@pytest.mark.parametrize("extended", [1, 30, 3000])
def test_an_old_sparse_file_with_extended_headers_is_an_error(place, extended):
    """The map of its holes goes on in blocks that each say whether another follows; the last one is cut short."""
    first = bytearray(header("set/a", tarfile.GNUTYPE_SPARSE, 512))
    first[482] = 1  # an extended header follows
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * 32 + sum(first[156:]))
    blocks = bytes(first) + (bytes(504) + b"\1" + bytes(7)) * extended + b"short"
    (place / "x.tar.gz").write_bytes(gzip.compress(blocks))
    refused(place, DAMAGED)


def test_damaged_archives_are_one_line_errors(place):
    whole = write(place / "x.tar.gz", GOOD).read_bytes()
    damaged = [b"", b"not gzip at all", b"<html>", gzip.compress(b"not a tar" * 200)]
    damaged += [whole[: len(whole) // 2], whole[:-3]]
    damaged += [whole[:20] + bytes([whole[20] ^ 255]) + whole[21:], whole[:-6] + b"\0" + whole[-5:]]
    for contents in damaged:
        (place / "x.tar.gz").write_bytes(contents)
        refused(place, DAMAGED)


def test_a_missing_file_is_named(place):
    write(place / "x.tar.gz", GOOD)
    refused(place, "has no set/c, expected 3 files", ["a", "b", "c"])


def test_an_incomplete_folder_is_completed_and_what_is_there_stays(place):
    (place / "set").mkdir()
    (place / "set" / "a").write_bytes(b"mine")
    archive.unpack(write(place / "x.tar.gz", GOOD), "set", ["a", "b"])
    assert (place / "set" / "a").read_bytes() == b"mine" and (place / "set" / "b").read_bytes() == b"two"


def test_a_place_that_cannot_be_written_is_named(place, monkeypatch):
    write(place / "x.tar.gz", GOOD)
    (place / "set").write_bytes(b"a file")
    refused(place, "x.tar.gz: cannot be unpacked to .*set .File exists.; unpack it by hand elsewhere")

    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.tempfile, "mkdtemp", refuse)
    refused(place, "cannot be unpacked to .*No space left on device")
