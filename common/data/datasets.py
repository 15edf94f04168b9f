"""Data sets by name: found on the disk, downloaded, or refused with what to do.

A set that is named is never replaced by another. `auto` takes the set of the paper if it can be had, and otherwise the
digits with a remark, so that a command always does something real. A name may be the path of one's own images.
"""

import dataclasses
import os
import pathlib

from common.console import complain
from common.data import arrays, cifar, digits, fashion_mnist, pictures, svhn, synthetic
from common.data.dataset import DataError
from common.data.download import PUBLISHED, DownloadError, download
from common.data.holdout import hold_out
from common.data.names import DEFAULT_DATA_DIR, check, is_own

ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the clone

# Of each set that has files: what has find(folders) -> path or None, and load(path) -> Dataset.
_READERS = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100, "svhn": svhn, "fashion_mnist": fashion_mnist}
_FOLDERS = {"fashion_mnist": fashion_mnist.FOLDER}  # within the data folder, for files whose names others have too
_MADE_HERE = {"digits": digits.load, "synthetic": synthetic.load}


class NotAvailable(DataError):
    """A data set is not in the folders searched and cannot be downloaded; the message is one line."""


def load(
    name, data_dir=DEFAULT_DATA_DIR, default="cifar100", say=complain, task="train", holdout=None, image_size=None
):
    """Returns the data set called `name`.

    Args:
      name: one of names.NAMES, or the path of one's own images (see arrays.py and pictures.py). "auto" is `default` if
        its files are there or can be downloaded, else the digits, with a remark that says so (see `Dataset.remarks`).
      data_dir: where the files are; see `search_folders`. Files that are nowhere are downloaded, to ROOT/datasets for
        the default folder, else to `data_dir`, which has to exist.
      default: the set of the paper: "cifar100", "cifar10" or "svhn".
      say: called with lines on downloads.
      task: what the set is for; the remark speaks of training only if it is "train".
      holdout: how many training images are kept apart for validation; None for none.
      image_size: height and width that the pictures of a folder get; None for the size that all of them have.

    Raises ValueError for an unknown name, NotAvailable for a named set that cannot be had, and DataError for one that
    is there but broken (under "auto" too), or has no images to validate on: one line each.
    """
    name = check(name)
    if image_size is not None and not os.path.isdir(name):
        raise ValueError(f"--image_size={image_size}: the images of {name} have a size; it is for folders of pictures")
    if is_own(name):
        dataset = pictures.load(name, image_size) if os.path.isdir(name) else arrays.load(name)
    else:
        dataset = _published(name, data_dir, default, say, task)
    if holdout is not None:
        dataset = hold_out(dataset, holdout)
    if len(dataset.parts()) == 1:
        raise DataError(f"{name}: has no test and no validation part; --holdout=N keeps N training images apart")
    return dataset


def _published(name, data_dir, default, say, task):
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
    in svhn/ within it; the four files of Fashion-MNIST in it or in fashion_mnist/ within it, or in Debian's folder.
    """
    if not _is_default(data_dir):
        return [pathlib.Path(os.path.expanduser(data_dir))]
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
        by_hand = ", ".join(source.urls[0] for source in PUBLISHED[name])
        advice = f"make it for {name} to be downloaded, or put {by_hand} there"
        raise NotAvailable(f"data_dir {folders[0]} does not exist; {advice}")
    if path is None:
        folder = ROOT / "datasets" if _is_default(data_dir) else folders[0]
        try:
            for source in PUBLISHED[name]:
                download(source, folder / _FOLDERS.get(name, ""), say)
        except DownloadError as error:
            searched = " and ".join(str(folder) for folder in folders)
            raise NotAvailable(f"{name} is not in {searched}, and {error}") from error
        path = _find(name, [folder])
    return _READERS[name].load(path)


def _find(name, folders):
    """Returns the path of the set in one of the folders, or None."""
    try:
        return _READERS[name].find(folders)
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
