"""The command line of a settings class: absl's syntax, own flags in every call, every error in one line."""

import contextlib
import dataclasses
import functools
import pathlib
import re
import sys

from absl import flags as absl_flags

from common import console, flags
from common.console import complain, one_line


def _parser(base, kind):
    """Returns a parser of absl's whose error says what is expected."""

    class Parser(base):
        def convert(self, argument):
            try:
                return super().convert(argument)
            except ValueError:
                raise ValueError(f"expected {flags.KINDS[kind]}") from None

    return Parser()


_DEFINE = {
    str: absl_flags.DEFINE_string,
    int: functools.partial(absl_flags.DEFINE, _parser(absl_flags.IntegerParser, int)),
    float: functools.partial(absl_flags.DEFINE, _parser(absl_flags.FloatParser, float)),
    bool: absl_flags.DEFINE_bool,
    tuple: absl_flags.DEFINE_string,  # a comma list, so that a bad number is our own one-line error
}
_OURS, _GONE = "flags", "flags that are no more"  # what absl calls the modules that define them
_HELP = ("help", "helpshort", "helpfull")


def main(settings_class, act, gnu=True):
    """Runs `act(words, settings) -> exit status` with the command line and ends the process.

    Words and flags may stand in any order; all that follows `--` are words. Without `gnu` all from the first word on
    are words. ValueError and OSError are one line on standard error and status 1.
    """
    console.prepare()

    def run():
        line = CommandLine(settings_class, sys.argv[1:], gnu)
        settings = line.settings()
        return 0 if line.only_check else act(line.words, settings)

    sys.exit(console.finish(status_of(run)))


def status_of(run):
    """Returns the exit status that `run()` returns; ValueError and OSError are one line and status 1."""
    try:
        return run()
    except Answer as answer:
        with contextlib.suppress(OSError):
            print(answer)
        return 0
    except (ValueError, OSError) as error:
        complain(f"error: {one_line(error)}")
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130


class Answer(Exception):
    """What --help answers."""


class CommandLine:
    """What a command line says.

    Args:
      settings_class: a dataclass of flags.
      arguments: the command line without the program's name.
      gnu: see `main`.
      usual: flags, as on a command line, that all others win over.
      of: where they are from, for errors.

    What stands on the command line wins over what stands in a --flagfile, in whatever order they come.

    Attributes:
      values: absl's FlagValues.
      words: what is no flag.
      gone: the flags given that are no more.
      only_check: whether --only_check_args was given.

    Raises ValueError for a flag that is not known, or is no number or switch where it has to be one, OSError for a flag
    file that cannot be read, and `Answer` for --help.
    """

    def __init__(self, settings_class, arguments, gnu=True, usual=(), of=None):
        self._settings_class, self._of = settings_class, of
        self.values = values = _defined(settings_class)
        values.set_gnu_getopt(gnu)
        from_files, given = _apart(arguments, values, gnu)
        replaced = _replaced(settings_class, given)
        others = [flag for flag in (*usual, *from_files) if _name(flag) not in replaced]
        try:
            _, *self.words = values(["program", *others, *given])
        except absl_flags.Error as error:
            hint = "" if gnu or "--" in arguments else "; the command to launch follows a --"
            raise ValueError(f"{one_line(error)}; --help lists the flags{hint}") from None
        self.gone = [f"--{name}" for name in flags.GONE if values[name].present]
        self.only_check = values["only_check_args"].value

    def given(self):
        """Returns {name: text} of the flags that it says."""
        said = {field.name: self.values[field.name] for field in dataclasses.fields(self._settings_class)}
        return {name: str(flag.value) for name, flag in said.items() if flag.present}

    def settings(self):
        """Returns the settings; ValueError in one line for a bad value."""
        given = {}
        try:
            for field in dataclasses.fields(self._settings_class):
                value = self.values[field.name].value
                given[field.name] = _integers(field.name, value) if flags.type_of(field) is tuple and value else value
            return self._settings_class(**given)
        except ValueError as error:
            hint = f"; flags that are not given are those of {self._of}" if self._of else ""
            raise ValueError(f"{error}{hint}") from None


def _defined(settings_class):
    values = absl_flags.FlagValues()
    for field in dataclasses.fields(settings_class):
        define = _DEFINE[flags.type_of(field)]
        define(field.name, field.default, _help(field), flag_values=values, module_name=_OURS)
        aliases = [field.metadata["alias"], *(old for old, new in flags.RENAMED.items() if new == field.name)]
        for alias in filter(None, aliases):
            absl_flags.DEFINE_alias(alias, field.name, flag_values=values, module_name=_OURS)
    for name, kind in flags.GONE.items():
        _DEFINE[kind](name, None, "", flag_values=values, module_name=_GONE)
    for name in _HELP:
        absl_flags.DEFINE_flag(_Help(values, name), values, module_name=_OURS)
    help_text = "check the flags and do nothing"
    absl_flags.DEFINE_bool("only_check_args", False, help_text, flag_values=values, module_name=_OURS)
    return values


class _Help(absl_flags.BooleanFlag):
    def __init__(self, values, name):
        short_name = "?" if name == "help" else None
        super().__init__(name, False, "show this help", short_name, allow_hide_cpp=True)
        self._all = values

    def parse(self, argument):
        super().parse(argument)
        raise Answer(f"{sys.modules['__main__'].__doc__ or ''}\n{self._all.module_help(_OURS)}")


def _help(field):
    bounds = flags.bounds(field)
    return field.metadata["help"] + (f" ({bounds})" if bounds else "")


def _name(argument):
    return argument.lstrip("-").partition("=")[0]


def _replaced(settings_class, given):
    """Returns the names of the flags in whose place others are given on the command line."""
    names = set(map(_name, given))
    return {field.metadata["replaces"] for field in dataclasses.fields(settings_class) if field.name in names}


def _integers(name, value):
    try:
        return tuple(int(item) for item in value.split(","))
    except ValueError:
        wanted = "whole numbers with commas between them, as in 64,64,64,64"
        raise ValueError(f"--{name}={value}: expected {wanted}") from None


def with_flag_files(command):
    """Returns the words of a command, the flags in the files that its --flagfile name in place of these."""
    from_files, others = _apart(command, absl_flags.FlagValues(), gnu=True)
    return [*from_files, *others]


def _apart(arguments, values, gnu):
    """Returns (flags in the files that --flagfile names, all other arguments)."""
    from_files, others, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        is_flag = argument.startswith("-") and name
        if argument == "--" or not is_flag and not gnu:
            others += [argument, *rest]
            break
        takes_next = is_flag and not equals and rest
        if is_flag and name == "flagfile":
            if not equals and not rest:
                raise ValueError("--flagfile needs a file")
            from_files += _flags_in(value if equals else rest.pop(0))
            continue
        others.append(argument)
        if takes_next and name in values and not values[name].boolean:
            others.append(rest.pop(0))
    return from_files, others


def _flags_in(path, within=()):
    """Returns the flags in a file: a line each; comments begin with # or //, and a file may name others."""
    if not path or path in within:
        return []
    try:
        data = pathlib.Path(flags.local_path("--flagfile", path)).read_bytes()
    except OSError as error:
        raise ValueError(f"--flagfile={path} cannot be read: {error.strerror}; name a file of flags") from None
    if b"\0" in data:
        raise ValueError(f"--flagfile={path} is UTF-16, or no text at all: save it as UTF-8")
    found = []
    for line in re.split(r"\r\n?|\n", data.decode("utf-8-sig", errors="surrogateescape")):
        line = line.strip()
        name, _, value = line.lstrip("-").partition("=")
        if line.startswith("-") and name == "flagfile":
            found += _flags_in(value, (*within, path))
        elif line and not line.startswith(("#", "//")):
            found.append(line)
    return found
