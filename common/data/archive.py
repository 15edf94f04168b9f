"""Unpacks a downloaded .tar.gz: the files asked for, into one folder, and nothing else."""

import gzip
import os
import pathlib
import tarfile
import tempfile

from common.console import one_line
from common.data.dataset import DataError

_MOST_BYTES = 1 << 29  # unpacked; CIFAR's archives hold 0.2 GB
_MOST_MEMBERS = 10_000


class _Limited:
    """A stream that ends with an error after so many bytes: tarfile reads headers of any size into the memory."""

    def __init__(self, stream):
        self._stream, self._left = stream, _MOST_BYTES

    def read(self, size):
        block = self._stream.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            raise tarfile.ReadError(f"more than {_MOST_BYTES} bytes unpacked")
        return block


def unpack(archive, folder, names):
    """Unpacks `folder`/NAME for each of `names` from `archive` to beside it and returns the folder's path.

    Args:
      archive: path of a .tar.gz.
      folder: name of the folder in the archive, and of the one on the disk. Files that are in the latter stay.
      names: the files wanted of it. They must be plain files; all else in the archive is passed over.

    Raises DataError, one line, if the archive is damaged, lacks a file or is too large. Then nothing has changed.
    """
    archive = pathlib.Path(archive)
    target = archive.parent / folder
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder}.", dir=archive.parent) as temporary:
            found = _extract(archive, {f"{folder}/{name}" for name in names}, temporary)
            missing = [name for name in names if f"{folder}/{name}" not in found]
            if missing:
                raise DataError(f"{archive}: has no {folder}/{missing[0]}, expected {len(names)} files of that folder")
            target.mkdir(exist_ok=True)
            for name in names:
                if not (target / name).exists():
                    os.replace(os.path.join(temporary, folder, name), target / name)
    except DataError:
        raise
    except Exception as error:  # tarfile raises what its arithmetic does: IndexError, OverflowError, RecursionError ...
        if isinstance(error, OSError) and error.errno:
            advice = "unpack it by hand elsewhere and name that folder"
            raise DataError(f"{archive}: cannot be unpacked to {target} ({error.strerror}); {advice}") from error
        raise DataError(f"{archive}: is damaged or no .tar.gz ({one_line(error)[:200]}); get it again") from error
    return target


def _extract(archive, wanted, temporary):
    """Writes the members named in `wanted` to the folder `temporary` and returns their names."""
    found, total = set(), 0
    with gzip.open(archive) as stream:
        limited = _Limited(stream)
        tar = tarfile.open(fileobj=limited, mode="r|")
        for count, member in enumerate(tar):
            total += member.size
            if count >= _MOST_MEMBERS or total > _MOST_BYTES:
                raise tarfile.ReadError(f"more than {_MOST_BYTES} bytes or {_MOST_MEMBERS} files")
            member.name = member.name.removeprefix("./")
            if member.name in wanted and member.isreg():
                tar.extract(member, temporary, filter="data")
                found.add(member.name)
        while limited.read(1 << 20):  # to the end, where the checksum of the whole stream stands
            pass
    return found
