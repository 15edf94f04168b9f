"""Data sets by name: found on the disk, downloaded, or refused with what to do.

A set that is named is never replaced by another. `auto` takes the set of the paper if it can be had, and otherwise the
digits with a remark, so that a command always does something real.
"""

import dataclasses
import os
import pathlib
import sys

from common.data import cifar, digits, svhn, synthetic
from common.data.dataset import DataError
from common.data.download import SOURCES, DownloadError, download

NAMES = ("auto", "cifar100", "cifar10", "svhn", "digits", "synthetic")
DEFAULT_DATA_DIR = "./datasets/"
ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the clone

_CIFAR = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}
_MADE_HERE = {"digits": digits.load, "synthetic": synthetic.load}


class NotAvailable(DataError):
    """A data set is not in the folders searched and cannot be downloaded; the message is one line."""


def to_stderr(line):
    print(line, file=sys.stderr, flush=True)


def load(name, data_dir=DEFAULT_DATA_DIR, default="cifar100", say=to_stderr, task="train"):
    """Returns the data set called `name`.

    Args:
      name: one of NAMES. "auto" is `default` if its files are there or can be downloaded, else the digits, with a
        remark that says so (see `Dataset.remarks`).
      data_dir: where the files are; see `search_folders`. Files that are nowhere are downloaded, to ROOT/datasets for
        the default folder, else to `data_dir`, which has to exist.
      default: the set of the paper: "cifar100", "cifar10" or "svhn".
      say: called with lines on downloads.
      task: what the set is for; the remark speaks of training only if it is "train".

    Raises ValueError for an unknown name, NotAvailable for a named set that cannot be had, and DataError for one that
    is there but broken (under "auto" too): one line each.
    """
    if name not in NAMES:
        raise ValueError(f"data is {name!r}, expected one of {', '.join(NAMES)}")
    if name != "auto":
        return _named(name, data_dir, say)
    try:
        return _named(default, data_dir, say)
    except NotAvailable as error:
        return dataclasses.replace(digits.load(), remarks=_remarks(default, error, task))


def search_folders(data_dir=DEFAULT_DATA_DIR):
    """Returns the folders in which files are looked for, in this order.

    The default, ./datasets/, stands for that folder in the current one, then in the clone's root, then the root itself.
    Any other is searched alone. What counts there: the unpacked folder of CIFAR within it, the folder itself being that
    one, or the .tar.gz in it (or, in place of a folder, the path of the .tar.gz); the three .mat files of SVHN in it or
    in svhn/ within it.
    """
    if not _is_default(data_dir):
        return [pathlib.Path(data_dir).expanduser()]
    return list(dict.fromkeys([pathlib.Path.cwd() / "datasets", ROOT / "datasets", ROOT]))


def _is_default(data_dir):
    return os.path.normpath(str(data_dir)) == os.path.normpath(DEFAULT_DATA_DIR)


def _named(name, data_dir, say):
    """Returns the data set, downloading it if it is nowhere."""
    if name in _MADE_HERE:
        return _MADE_HERE[name]()
    folders = search_folders(data_dir)
    path = _find(name, folders)
    if path is None and not _is_default(data_dir) and not folders[0].exists():
        by_hand = ", ".join(source.urls[0] for source in SOURCES[name])
        advice = f"make it for {name} to be downloaded, or put {by_hand} there"
        raise NotAvailable(f"data_dir {folders[0]} does not exist; {advice}")
    if path is None:
        folder = ROOT / "datasets" if _is_default(data_dir) else folders[0]
        try:
            for source in SOURCES[name]:
                download(source, folder, say)
        except DownloadError as error:
            searched = " and ".join(str(folder) for folder in folders)
            raise NotAvailable(f"{name} is not in {searched}, and {error}") from error
        path = _find(name, [folder])
    return svhn.load(path) if name == "svhn" else cifar.load(path, _CIFAR[name])


def _find(name, folders):
    """Returns the path of the set in one of the folders, or None."""
    try:
        return svhn.find(folders) if name == "svhn" else cifar.find(folders, _CIFAR[name])
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be searched for {name} ({error.strerror})") from error


def _remarks(name, error, task):
    line, verb = "*" * 100, "TRAINING ON" if task == "train" else "TAKING"
    return (
        line,
        f"* THE DATA SET OF THE PAPER, {name.upper()}, IS NOT HERE. {verb} HANDWRITTEN DIGITS INSTEAD.",
        f"* {error}",
        f"* With --data={name} this is an error; with --data=digits this notice is left out.",
        line,
    )
