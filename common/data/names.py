"""What --data may say; files are not read here, so that a wrong flag is told at once."""

import os
import pathlib

NAMES = ("auto", "cifar100", "cifar10", "svhn", "fashion_mnist", "digits", "synthetic")
FILELESS = ("digits", "synthetic")  # data sets that need no files
DEFAULT_DATA_DIR = "./datasets/"


def check(name):
    """Returns --data as a run stores it: one of NAMES, or the absolute path of an .npz file or a folder.

    Raises ValueError, one line, for anything else.
    """
    if name in NAMES:
        return name
    path = pathlib.Path(os.path.expanduser(name))
    if "://" not in name and (path.suffix.lower() == ".npz" or path.is_dir()):
        return os.path.abspath(path)
    own = "the path of an .npz file or of a folder with train/ and test/"
    absent = ", and there is no such folder" if os.sep in name else ""
    raise ValueError(f"--data={name}: expected one of {', '.join(NAMES)}, or {own}{absent}")


def is_own(name):
    """Whether --data is the path of one's own images."""
    return name not in NAMES


def title(name):
    """Returns what a data set is called in the names of runs: its name, or the stem of its path."""
    return pathlib.Path(name).stem if is_own(name) else name
