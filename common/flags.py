"""Settings of a program: declared once as a dataclass, read from the command line or given from code.

    @dataclasses.dataclass(frozen=True)
    class Settings(flags.Checked):
        batch_size: int | None = flags.option(None, "images per update", minimum=1)

`define(Settings)` makes an absl flag of every field, `read(Settings)` returns the values of the command line, and
`text(settings)` the file that gives them again through --flagfile. The bounds hold however the settings were made.
"""

import ctypes
import dataclasses
import enum
import math
import re
import typing

from absl import flags as absl_flags

absl_flags.disclaim_key_flags()  # --help then counts them to the program that is run


class Resume(enum.Enum):
    """What a run that goes on (--resume) does about a flag whose value is not what it was."""

    FIXED = "refuses: another value makes another run"
    STEERS = "goes on, and says loudly that it trains otherwise from here on"
    FREE = "goes on, and says so: what is trained stays the same"
    PLACE = "nothing: it says what to do and where, not how"


def on_resume(steers=(), free=(), place=()):
    """Returns {name: `Resume`} of the flags named in each group; all others are FIXED."""
    groups = {Resume.STEERS: steers, Resume.FREE: free, Resume.PLACE: place}
    return {name: group for group, names in groups.items() for name in names}


def option(default, help_text, choices=None, minimum=None, above=None, maximum=None, below=None, alias=None):
    """Returns a dataclass field that is a flag.

    Args:
      default: its value when left out; None for "as the recipe says".
      help_text: one sentence.
      choices: allowed values of a string.
      minimum, above, maximum, below: bounds of a number, `above` and `below` being exclusive.
      alias: a second name on the command line.
    """
    bounds = {"choices": choices, "minimum": minimum, "above": above, "maximum": maximum, "below": below}
    return dataclasses.field(default=default, metadata={"help": help_text, "alias": alias, **bounds})


class Checked:
    """Base of settings: raises ValueError, in one line, for a value outside its bounds.

    Attributes:
      on_resume: {name: `Resume`} of the flags that are not FIXED.
      per_worker: names of the flags that may have another value in each process of a cluster.
    """

    on_resume = {}
    per_worker = frozenset()

    def names(self):
        """Returns the names of all flags."""
        return [field.name for field in dataclasses.fields(self)]

    def words(self):
        """Returns {name: value as written on the command line} of those that have a value."""
        values = {name: getattr(self, name) for name in self.names()}
        return {
            name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, value in values.items()
            if value is not None
        }

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if item is not None:
                    _check(field, item)


# Bounds that every number has: whole ones are int32 in some places, the others float32, whose subnormals count as 0.
_LARGEST_INTEGER = 2**31 - 1
_SMALLEST_FLOAT = 2.0**-126


def define(settings_class):
    """Makes an absl flag of every field of a settings class."""
    for field in dataclasses.fields(settings_class):
        _DEFINE[_type_of(field)](field.name, field.default, _help(field))
        if field.metadata["alias"]:
            absl_flags.DEFINE_alias(field.metadata["alias"], field.name)


def read(settings_class):
    """Returns the settings that the command line gives; ValueError in one line for a bad value."""
    values = {}
    for field in dataclasses.fields(settings_class):
        value = absl_flags.FLAGS[field.name].value
        values[field.name] = _integers(field.name, value) if _type_of(field) is tuple and value is not None else value
    return settings_class(**values)


def text(settings):
    """Returns the lines `--name=value` of all settings that have a value: a file for --flagfile."""
    return "".join(f"--{name}={value}\n" for name, value in settings.words().items())


def differences(settings, before):
    """Returns (field, old, new) for each setting whose value is not that in `before`, the `text` of earlier settings.

    Values are texts, None for none. A flag that the earlier program did not have counts as its default.
    """
    old, new = parsed(before), settings.words()
    changes = []
    for field in dataclasses.fields(settings):
        default = None if field.default is None else str(field.default)
        pair = old.get(field.name, default), new.get(field.name)
        if pair[0] != pair[1]:
            changes.append((field, *pair))
    return changes


def parsed(lines):
    """Returns {name: value}, both texts, of what `text` has made."""
    matches = [re.fullmatch(r"--(\w+)=(.*)", line) for line in lines.splitlines()]
    return {match.group(1): match.group(2) for match in matches if match}


_DEFINE = {
    str: absl_flags.DEFINE_string,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    bool: absl_flags.DEFINE_bool,
    tuple: absl_flags.DEFINE_string,  # a comma list, so that a bad number is our own one-line error
}


def _type_of(field):
    """The type of a field declared as `T`, `T | None` or `tuple[int, ...] | None`."""
    kinds = [kind for kind in typing.get_args(field.type) or (field.type,) if kind is not type(None)]
    return typing.get_origin(kinds[0]) or kinds[0]


def _integers(name, value):
    try:
        return tuple(int(item) for item in value.split(","))
    except ValueError:
        wanted = "whole numbers with commas between them, as in 64,64,64,64"
        raise ValueError(f"--{name}={value}: expected {wanted}") from None


def _range(field):
    bounds = field.metadata
    words = [f"one of {', '.join(bounds['choices'])}"] if bounds["choices"] else []
    words += [f"at least {bounds['minimum']}"] if bounds["minimum"] is not None else []
    words += [f"above {bounds['above']}"] if bounds["above"] is not None else []
    words += [f"at most {bounds['maximum']}"] if bounds["maximum"] is not None else []
    words += [f"below {bounds['below']}"] if bounds["below"] is not None else []
    return " and ".join(words)


def _help(field):
    return field.metadata["help"] + (f" ({_range(field)})" if _range(field) else "")


def _check(field, value):
    bounds, kind = field.metadata, _type_of(field)
    kind = int if kind is tuple else kind
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"--{field.name}={value}: expected {_WORDS[kind]}")
    if value == "":
        raise ValueError(f"--{field.name} is empty: give it a value, or leave it out")
    if bounds["choices"] and value not in bounds["choices"]:
        raise ValueError(f"--{field.name}={value}: expected {_range(field)}")
    if kind in (int, float):
        _check_number(field, kind, value)


_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


def _check_number(field, kind, value):
    wanted = _range(field) or "a finite number"
    if kind is int and value > _LARGEST_INTEGER:
        raise ValueError(f"--{field.name}={value}: expected at most {_LARGEST_INTEGER}")
    if not _within(field.metadata, value) or not math.isfinite(value):
        raise ValueError(f"--{field.name}={value}: expected {wanted}")
    rounded = ctypes.c_float(value).value if kind is float else value
    rounded = 0.0 if kind is float and abs(rounded) < _SMALLEST_FLOAT else rounded
    if not math.isfinite(rounded) or not _within(field.metadata, rounded, exclusive=True):
        raise ValueError(f"--{field.name}={value}: expected {wanted}, also when rounded to float32")


def _within(bounds, value, exclusive=False):
    """Returns whether a number keeps its bounds, or those that it must not reach."""
    return (
        (exclusive or bounds["minimum"] is None or value >= bounds["minimum"])
        and (exclusive or bounds["maximum"] is None or value <= bounds["maximum"])
        and (bounds["above"] is None or value > bounds["above"])
        and (bounds["below"] is None or value < bounds["below"])
    )
