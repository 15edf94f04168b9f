"""Files that are whole or absent, files that grow by whole lines, locks between processes, paths for TensorFlow."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import sys
import tempfile

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# The files of a run folder (see common/runs/folder.py), named here for readers that do without TensorFlow.
LOG, FLAGS, METRICS, START = "log.txt", "flags.txt", "metrics.jsonl", "start.json"
NONFINITE = "nonfinite.jsonl"
CHECKPOINT, SAVING = "model.ckpt", "saving"  # names of checkpoints, and of folders in which one is written, begin so
TEXTS = (LOG, FLAGS, METRICS, START)

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS, errno.EACCES)
_PLAIN = re.compile(r"[^\[\]*?\\\udc80-\udcff]*")


def has_checkpoint(folder):
    """Returns whether a run folder has a checkpoint, or one that a killed save had not put in its place yet."""
    names = f"{CHECKPOINT}-*.index", f"{SAVING}-*/{CHECKPOINT}-*.index"
    return any(glob.glob(os.path.join(glob.escape(folder), name)) for name in names)


def run_of(checkpoint):
    """Returns the folder of the run that a path means: a run's folder itself, or that of a checkpoint in it."""
    return checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint)


def beginning(task, resume, train_path, load):
    """Returns (the folder of the run at whose checkpoint these flags begin, whether that run goes on there).

    The folder is None for a run that starts afresh.
    """
    if task == "train" and resume and train_path and has_checkpoint(train_path):
        return train_path, True
    return run_of(load) if load else None, False


def sync(path):
    """Returns when a file, or the names in a folder, are on the disk.

    A folder that its file system (CIFS, FUSE, WSL) does not bring to the disk is left to that file system. Raises
    OSError, naming the file, for a file.
    """
    folder = os.path.isdir(path)
    if folder and os.name != "posix":
        return  # Windows opens no folders
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not folder or error.errno not in _NO_SYNC:
            raise OSError(error.errno, error.strerror, path) from None


def replace(path, text):
    """Writes a text file: readers, and whoever comes after a crash, find the old one or the new one."""
    try:
        with open(temporary(path), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        sync(temporary(path))
        os.replace(temporary(path), path)
    except OSError:
        remove(temporary(path))
        raise
    sync(os.path.dirname(path) or ".")


def temporary(path):
    """Returns what `replace` calls a file before it is whole."""
    return f"{path}.tmp"


def remove(path):
    """Removes a file if it is there and can be removed."""
    with contextlib.suppress(OSError):
        os.remove(path)


def sha256(path):
    """Returns the SHA-256 sum of a file's bytes in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def try_lock(descriptor):
    """Locks an open file or folder until it is closed or the process ends, however it ends.

    Returns True if the lock is ours now, False if another process has it, and None where there are no locks: on some
    network file systems, and on Windows.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None


@contextlib.contextmanager
def for_tensorflow(path, endings=("",)):
    """Yields another name of a folder, or of the files `path` + ending, for TensorFlow.

    TensorFlow's readers take `[ ] * ? \\` in a path for a pattern, and UTF-8 only. The other name is a symbolic link in
    a temporary folder. A path that TensorFlow takes as it is is yielded itself.
    """
    if _PLAIN.fullmatch(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as box:
        link = os.path.join(box, "link")
        for ending in endings:
            os.symlink(os.path.abspath(path) + ending, link + ending)
        yield link


class Appended:
    """A text file to which lines are added, none of them torn. It is opened anew for each: it may vanish and come back.

    What cannot be written (a full disk, a folder that is gone) is said once on standard error, kept, and written with
    the next line that can be: a log never ends the training.
    """

    def __init__(self, path):
        self._path, self._owed, self._complained = path, b"", False

    def add(self, line):
        self._owed += f"{line}\n".encode(errors="surrogateescape")
        try:
            self._write()
        except OSError as error:
            if not self._complained:
                with contextlib.suppress(OSError, ValueError):  # standard error may be gone too
                    print(f"cannot write {self._path}: {error.strerror or error}; training goes on", file=sys.stderr)
            self._complained = True

    def sync(self):
        """Brings what was added, and what is owed, to the disk, as far as that can be."""
        with contextlib.suppress(OSError):  # `add` has complained, or the next one will
            if self._owed:
                self._write()
            sync(self._path)

    def _write(self):
        with open(self._path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                rest = self._owed
                while rest:  # a disk that fills up takes a part first
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        self._owed, self._complained = b"", False
