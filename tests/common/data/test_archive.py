"""Tar archives: the wanted files are unpacked, everything else is refused with nothing written."""

import gzip
import io
import os
import tarfile

import pytest

from common.data import archive
from common.data.dataset import DataError
from tests.fuzzing.files import member

GOOD = [member("set", tarfile.DIRTYPE, mode=0o755), member("set/a", contents=b"one"), member("set/b", contents=b"two")]


def write(path, members):
    with tarfile.open(path, "w:gz") as tar:
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


def test_the_wanted_files_are_unpacked(place):
    others = [member(name, contents=b"x") for name in ("set/readme.html", "readme", "set/deep/a", "other/a")]
    assert archive.unpack(write(place / "x.tar.gz", GOOD + others), "set", ["a", "b"]) == place / "set"
    assert everything(place) == ["data", "data/set", "data/set/a", "data/set/b", "data/x.tar.gz"]
    assert (place / "set" / "a").read_bytes() == b"one" and (place / "set" / "b").read_bytes() == b"two"


def test_names_that_begin_with_a_dot_are_the_same(place):
    archive.unpack(write(place / "x.tar.gz", [member("./set/a", contents=b"1")]), "set", ["a"])
    assert (place / "set" / "a").read_bytes() == b"1"


HOSTILE = {
    "parent": [member("../outside", contents=b"x")],
    "parent inside": [member("set/../../outside", contents=b"x")],
    "absolute": [member("/tmp/outside-of-the-test", contents=b"x")],
    "symbolic link": [member("set/a", tarfile.SYMTYPE, linkname="/etc/passwd")],
    "symbolic link within": [member("set/c", tarfile.SYMTYPE, linkname="a")],
    "link to the parent": [member("set/d", tarfile.SYMTYPE, linkname="../.."), member("set/d/outside", contents=b"x")],
    "folder that is a link": [member("set", tarfile.SYMTYPE, linkname=".."), member("set/outside", contents=b"x")],
    "hard link": [member("set/a", tarfile.LNKTYPE, linkname="../../etc/passwd")],
    "device": [member("set/a", tarfile.CHRTYPE, devmajor=1, devminor=5)],
    "block device": [member("set/a", tarfile.BLKTYPE, devmajor=8)],
    "pipe": [member("set/a", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("first", [True, False])
def test_hostile_members_are_refused(place, name, first):
    archive = write(place / "x.tar.gz", HOSTILE[name] + GOOD if first else GOOD + HOSTILE[name])
    with pytest.raises(DataError, match="x.tar.gz: is damaged or not a safe .tar.gz") as raised:
        archive.unpack(archive, "set", ["a", "b"])
    assert "\n" not in str(raised.value)
    assert everything(place) == ["data", "data/x.tar.gz"]
    assert not os.path.exists("/tmp/outside-of-the-test")


def test_a_file_that_claims_a_terabyte_is_refused_at_once(place):
    header = tarfile.TarInfo("set/a")
    header.size = 1 << 40
    (place / "x.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10240)))
    with pytest.raises(DataError, match="more than"):
        archive.unpack(place / "x.tar.gz", "set", ["a"])
    assert everything(place) == ["data", "data/x.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.REGTYPE])
def test_a_bomb_stops_at_the_limit(place, kind, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_BYTES", 1 << 20)
    header = tarfile.TarInfo("set/b")
    header.type, header.size = kind, 1 << 24
    (place / "x.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 24)))
    with pytest.raises(DataError, match="more than"):
        archive.unpack(place / "x.tar.gz", "set", ["a"])
    assert everything(place) == ["data", "data/x.tar.gz"]


def test_too_many_members_are_refused(place, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 5)
    with pytest.raises(DataError, match="more than"):
        archive.unpack(write(place / "x.tar.gz", GOOD * 3), "set", ["a", "b"])


def test_a_missing_file_is_named(place):
    with pytest.raises(DataError, match="has no set/c, expected 3 files"):
        archive.unpack(write(place / "x.tar.gz", GOOD), "set", ["a", "b", "c"])
    assert everything(place) == ["data", "data/x.tar.gz"]


def test_damaged_archives_are_one_line_errors(place):
    whole = write(place / "x.tar.gz", GOOD).read_bytes()
    damaged = [b"", b"not gzip at all", gzip.compress(b"not a tar" * 200), whole[: len(whole) // 2], whole[:-3]]
    damaged += [whole[:20] + bytes([whole[20] ^ 255]) + whole[21:]]
    for contents in damaged:
        (place / "x.tar.gz").write_bytes(contents)
        with pytest.raises(DataError) as raised:
            archive.unpack(place / "x.tar.gz", "set", ["a", "b"])
        assert "\n" not in str(raised.value) and "x.tar.gz" in str(raised.value)
        assert everything(place) == ["data", "data/x.tar.gz"]


def test_a_complete_folder_that_is_there_stays(place):
    (place / "set").mkdir()
    (place / "set" / "a").write_bytes(b"mine")
    archive = write(place / "x.tar.gz", GOOD)
    with pytest.raises(DataError, match="set: has no b; remove that folder"):
        archive.unpack(archive, "set", ["a", "b"])
    (place / "set" / "b").write_bytes(b"mine")
    archive.unpack(archive, "set", ["a", "b"])
    assert (place / "set" / "a").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_named(place, monkeypatch):
    archive = write(place / "x.tar.gz", GOOD)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archive.tempfile, "mkdtemp", refuse)
    with pytest.raises(DataError, match="cannot be unpacked to .*Permission denied"):
        archive.unpack(archive, "set", ["a", "b"])
