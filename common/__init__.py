"""What all methods share. In a program of this project Ctrl-C is one line, also while Python still imports it."""

import os
import sys


def _in_one_line(kind, error, traceback):
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, traceback)
    os.write(2, b"interrupted while the program was starting; there was nothing to save\n")
    os._exit(130)


if any(word.endswith("train.py") or word.startswith("common.") for word in sys.orig_argv[1:4]):
    sys.excepthook = _in_one_line
