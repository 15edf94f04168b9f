"""The command line of the programs: flags from a settings class, every error in one line with exit status 1."""

import sys

from absl import app
from absl import flags as absl_flags

from common import flags
from common.console import one_line

absl_flags.disclaim_key_flags()


def main(settings_class, act):
    """Runs `act(words, settings) -> exit status` with the command line and ends the process.

    Words and flags may stand in any order; all that follows `--` are words. ValueError and OSError are one line on
    standard error and status 1.
    """
    flags.define(settings_class)
    absl_flags.FLAGS.set_gnu_getopt(True)
    run_with_flags(lambda arguments: _status(settings_class, act, arguments[1:]))


def run_with_flags(act, hint=""):
    """Reads the flags of the command line, runs `act(arguments) -> exit status` and ends the process.

    absl's app.run would, between the two, call what TensorFlow has left with it, and that looks for GPUs: too early for
    --device and --visible_devices to hide any, and in a process whose forked children can then use none.

    A bad flag ends the process with one line, which ends with `hint`, and status 1.
    """
    app.define_help_flags()
    arguments = parse(sys.argv, hint)
    sys.exit(0 if absl_flags.FLAGS.only_check_args else act(arguments))


def parse(arguments, hint=""):
    """Reads the flags of a command line; returns the words that are none. A bad flag ends the process: see above."""
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
