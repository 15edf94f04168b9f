"""The command line of the programs: flags from a settings class, every error in one line with exit status 1."""

import sys

from absl import app
from absl import flags as absl_flags

from common import flags
from common.errors import one_line

absl_flags.disclaim_key_flags()


def main(settings_class, act):
    """Runs `act(words, settings) -> exit status` with the command line and ends the process.

    Words and flags may stand in any order; all that follows `--` are words. ValueError and OSError are one line on
    standard error and status 1.
    """
    flags.define(settings_class)
    absl_flags.FLAGS.set_gnu_getopt(True)
    app.run(lambda arguments: sys.exit(_status(settings_class, act, arguments[1:])), flags_parser=parse)


def parse(arguments, hint=""):
    """Reads the flags for `app.run`; a bad one ends the process with one line, which ends with `hint`, status 1."""
    try:
        return absl_flags.FLAGS(arguments)
    except (absl_flags.Error, ValueError, OSError) as error:  # the latter two: a --flagfile that cannot be read
        print(f"error: {one_line(error)}; --help lists the flags{hint}", file=sys.stderr)
        sys.exit(1)


def _status(settings_class, act, words):
    try:
        return act(words, flags.read(settings_class))
    except (ValueError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
