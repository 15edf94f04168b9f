"""Unpacks a downloaded .tar.gz: the files asked for, inside one folder, and nothing else."""

import gzip
import os
import pathlib
import shutil
import tarfile
import tempfile
import zlib

from common.data.dataset import DataError

_MOST_BYTES = 1 << 30  # unpacked; CIFAR's archives hold 0.2 GB
_MOST_MEMBERS = 10_000
_MOST_OF_NAME = 1 << 10  # bytes of a name, or of a header that holds one; CIFAR's names have 40


# What tarfile raises besides its own errors: RecursionError for a chain of headers, each for the next.
_OF_CONTENTS = (ValueError, OverflowError, RecursionError, MemoryError)


class _Limited:
    """A stream that ends with an error after so many bytes, whatever the archive claims."""

    def __init__(self, stream):
        self._stream, self._left = stream, _MOST_BYTES

    def read(self, size):
        block = self._stream.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise tarfile.ReadError(f"more than {_MOST_BYTES} bytes unpacked")
        return block


class _Member(tarfile.TarInfo):
    """A member of an archive, refused if it is a header for the next one that tarfile would read into the memory."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _MOST_OF_NAME:
            raise tarfile.ReadError(f"a header of more than {_MOST_OF_NAME} bytes")
        return member


_HEADERS = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}


def unpack(archive, folder, names):
    """Unpacks `folder`/NAME for each of `names` from `archive` to beside it and returns the folder's path.

    Args:
      archive: path of a .tar.gz.
      folder: name of the folder in the archive that is wanted; on disk it is there complete or not at all.
      names: the files wanted of it; others of the archive are passed over.

    Raises DataError, one line, if the archive is damaged, lacks a file, is too large, or holds anything that has no
    place in a data set: links, devices, absolute paths, or paths out of the folder. Then nothing is left on the disk.
    """
    archive = pathlib.Path(archive)
    target = archive.parent / folder
    try:
        temporary = tempfile.mkdtemp(prefix=f".{folder}.", dir=archive.parent)
    except OSError as error:
        reason = f"cannot be unpacked to {archive.parent} ({error.strerror})"
        raise DataError(f"{archive}: {reason}; unpack it by hand elsewhere and name that folder") from error
    try:
        found = _extract(archive, folder, set(names), temporary)
        missing = sorted(set(names) - found)
        if missing:
            raise DataError(f"{archive}: has no {folder}/{missing[0]}, expected {len(names)} files of that folder")
        os.chmod(os.path.join(temporary, folder), 0o755)
        _move(os.path.join(temporary, folder), target, names)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, *_OF_CONTENTS) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{archive}: is damaged or not a safe .tar.gz ({_one_line(error)}); get it again") from error
    except OSError as error:
        raise DataError(f"{archive}: could not be unpacked to {archive.parent} ({_one_line(error)})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _extract(archive, folder, names, temporary):
    """Writes the wanted files to `temporary`/`folder` and returns their names."""
    os.mkdir(os.path.join(temporary, folder))
    found, total = set(), 0
    with gzip.open(archive) as stream:
        limited = _Limited(stream)
        tar = tarfile.open(fileobj=limited, mode="r|", tarinfo=_Member)
        for count, member in enumerate(tar):
            total += member.size
            if count >= _MOST_MEMBERS or total > _MOST_BYTES:
                raise tarfile.ReadError(f"more than {_MOST_BYTES} bytes or {_MOST_MEMBERS} files")
            # The filter raises for what leaves the folder and for devices, and strips the root off absolute paths.
            harmless = tarfile.data_filter(member, temporary).name == member.name
            if not harmless or not (member.isreg() or member.isdir()) or member.issparse():
                raise tarfile.ReadError(f"{member.name!r} is not a plain file inside the archive")
            place, _, name = member.name.removeprefix("./").rpartition("/")
            if place == folder and name in names and member.isreg():
                member.name = f"{folder}/{name}"
                tar.extract(member, temporary, filter="data")
                found.add(name)
        while limited.read(1 << 20):  # to the end, where the checksum of the whole stream stands
            pass
    return found


def _move(source, target, names):
    """Gives the finished folder its name; if another process was faster, its folder is as good."""
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        missing = [name for name in names if not (target / name).exists()]
        if missing:
            raise DataError(f"{target}: has no {missing[0]}; remove that folder, then it is unpacked again") from None


def _one_line(error):
    return " ".join(str(error).split())[:200] or type(error).__name__
