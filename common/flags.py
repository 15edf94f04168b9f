"""Settings of a program: declared once as a dataclass, read from the command line or given from code.

    @dataclasses.dataclass(frozen=True)
    class Settings(flags.Checked):
        batch_size: int | None = flags.option(None, "images per update", minimum=1)
        out: str = flags.path("./report", "folder of the report", on_resume=flags.CALL)

common/command.py makes the command line of such a class. The bounds hold however the settings were made.
"""

import ctypes
import dataclasses
import enum
import math
import operator
import os
import pathlib
import re
import typing

from common.files import FLAGS


class Resume(enum.Enum):
    """What a run that goes on (--resume) does about another value of a flag than it had."""

    REFUSED = "does not go on: it would be another run"
    STEERS = "goes on, and says loudly that it trains otherwise from here on"
    ANY = "goes on, and says so: what is trained stays the same"
    CALL = "nothing: the flag says what a call does and where, not how a run trains"


REFUSED, STEERS, ANY, CALL = Resume

# Flags of the first version that are no more, with the type that they had, and flags that have another name now.
GONE = {"shard_maps": bool, "memory_limit": str}
RENAMED = {"map_method": "map_algorithm"}


def option(default, help_text, choices=None, *, minimum=None, above=None, maximum=None, below=None, alias=None,
           on_resume=REFUSED, per_worker=None, needs=None, replaces=None, earlier=None, follows=(), path=False,
           differs="{name}: {old} -> {new}"):  # fmt: skip
    """Returns a dataclass field that is a flag.

    Args:
      default: its value when left out; None for "as the recipe says".
      help_text: one sentence.
      choices: allowed values of a string.
      minimum, above, maximum, below: bounds of a number, `above` and `below` being exclusive.
      alias: a second name on the command line.
      on_resume: what a run that goes on does about another value.
      per_worker: whether each process of a cluster may have its own value; None: if on_resume is CALL.
      needs: (text, test): the flag does nothing unless `test(settings)`, which `text` says.
      replaces: name of a flag that counts as left out in flag files, if this one is on the command line.
      earlier: the value of runs that were made before there was this flag, where that is not the default.
        Left out, it stays what the run has that training goes on with, or whose checkpoint is loaded, on the same data.
      follows: names of flags from which the default of this one follows. If one of them has another value than in a
        run, what the run had of this flag does not count; that of `earlier` does.
      path: see `path`.
      differs: what is said when a run goes on with another value; `settings` are the new ones.
    """
    per_worker = on_resume is CALL if per_worker is None else per_worker
    return dataclasses.field(default=default, metadata={
        "help": help_text, "choices": choices, "minimum": minimum, "above": above, "maximum": maximum, "below": below,
        "alias": alias, "on_resume": on_resume, "per_worker": per_worker, "needs": needs, "replaces": replaces,
        "earlier": earlier, "follows": follows, "path": path, "differs": differs,
    })  # fmt: skip


def path(default, help_text, **others):
    """Returns an `option` that names a file or folder: ~ is expanded, and an address such as gs:// refused."""
    return option(default, help_text, **others, path=True)


def local_path(name, value):
    """Returns a path with ~ expanded; ValueError if it is an address that only a remote file system could have.

    Args:
      name: of what the user wrote it for, for the error.
      value: the text.
    """
    if re.match(r"[A-Za-z][\w+.-]*://", value):
        raise ValueError(f"{name}={value}: expected a path of this machine's file system; copy or mount it there first")
    return os.path.expanduser(value)


class Checked:
    """Base of settings: raises ValueError, in one line, for a value outside its bounds."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if item is not None:
                    _check(field, item)
            if field.metadata["path"] and value is not None:
                object.__setattr__(self, field.name, local_path(f"--{field.name}", value))

    @classmethod
    def names(cls, *groups):
        """Returns the names of all flags, or of those whose `Resume` is one of the groups."""
        return [f.name for f in dataclasses.fields(cls) if not groups or f.metadata["on_resume"] in groups]

    @classmethod
    def shared_names(cls):
        """Returns the names of the flags that all processes of a cluster need to have the same values of."""
        return [field.name for field in dataclasses.fields(cls) if not field.metadata["per_worker"]]

    def texts(self):
        """Returns {name: value as written on the command line} of those that have a value."""
        return {name: _text(value) for name in self.names() if (value := getattr(self, name)) is not None}

    def useless(self):
        """Returns {name: what it needs} of the flags that are not at their default and do nothing here."""
        return {
            field.name: field.metadata["needs"][0]
            for field in dataclasses.fields(self)
            if field.metadata["needs"]
            and getattr(self, field.name) != field.default
            and not field.metadata["needs"][1](self)
        }


def text(settings):
    """Returns the lines `--name=value` of all settings that have a value: a file for --flagfile.

    Those whose `Resume` is CALL are not there: they did not make the run.
    """
    made = settings.names(REFUSED, STEERS, ANY)
    return "".join(f"--{name}={value}\n" for name, value in settings.texts().items() if name in made)


def parsed(lines):
    """Returns {name: value}, both texts, of what `text` has made, now or in the first version: see GONE and RENAMED."""
    matches = [re.fullmatch(r"--(\w+)=(.*)", line.strip()) for line in lines.split("\n")]
    return {RENAMED.get(m.group(1), m.group(1)): m.group(2) for m in matches if m and m.group(1) not in GONE}


def words(lines, names):
    """Returns the flags of a `text` that are among `names`, as they stand on a command line."""
    return [f"--{name}={value}" for name, value in parsed(lines).items() if name in names]


_CLASSES = "# classes: "
_ORIGIN = "# began at "  # a comment, so that --flagfile with this file does not load the checkpoint


def method_in(lines):
    """Returns the method that a flags.txt names in its first line, or None."""
    found = re.match(r"#(.*)", lines)
    return (found.group(1).strip() or None) if found else None


def origin_line(checkpoint):
    """Returns the line of flags.txt that names the checkpoint at which a run began; none for None."""
    return f"{_ORIGIN}{checkpoint}\n" if checkpoint else ""


def origin(lines):
    """Returns the checkpoint that a flags.txt names so, or as --load in the first version, or None."""
    found = re.search(rf"^(?:{_ORIGIN}|--load=)(.+)$", lines, re.MULTILINE)
    return found.group(1).strip() if found else None


def classes_line(classes):
    """Returns the line of flags.txt that lists the classes of a run, "0 cat, 1 dog"; none if they have no names."""
    return f"{_CLASSES}{classes}\n" if classes else ""


def classes(lines):
    """Returns what `classes_line` was given, or ""."""
    found = re.search(rf"^{_CLASSES}(.+)$", lines, re.MULTILINE)
    return found.group(1).strip() if found else ""


def recorded_in(folder):
    """Returns the flags.txt of a run's folder, or None."""
    try:
        return pathlib.Path(folder, FLAGS).read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def gone(lines):
    """Returns the flags in a `text` that are no more, as ["--shard_maps"]."""
    return [f"--{name}" for name in GONE if re.search(rf"^--{name}=", lines, re.MULTILINE)]


def outdated(settings_class, new, old):
    """Returns the names of the flags of a run that do not count when training goes on: see `follows` of `option`.

    Args:
      new, old: {name: text} of the flags now, and of those of the run.
    """
    others = {name for name in settings_class.names() if new.get(name) != old.get(name)}
    return {f.name for f in dataclasses.fields(settings_class) if f.name in old and others & set(f.metadata["follows"])}


def with_earlier(settings, before, data):
    """Returns settings that go on from a run whose `text` is `before`: see `earlier` and `follows` of `option`.

    A run on another data set than `data` had a preset of its own: nothing of it is taken.
    """
    old = parsed(before)
    if old.get("data") != data:
        return settings
    derived = outdated(type(settings), settings.texts(), old)
    values = {
        field.name: type_of(field)(old.get(field.name, field.metadata["earlier"]))
        for field in dataclasses.fields(settings)
        if field.metadata["earlier"] is not None and getattr(settings, field.name) is None and field.name not in derived
    }
    return dataclasses.replace(settings, **values)


def earlier(field):
    """Returns what a run has had whose flags.txt lacks a flag, if the flag had an effect there."""
    return field.default if field.metadata["earlier"] is None else field.metadata["earlier"]


def remarks_on(gone):
    """Returns the line, if any, to say about flags that are no more."""
    return [f"these flags are no more, and do nothing: {', '.join(gone)}"] if gone else []


def short(text):
    """Returns the text of a flag as messages show it: a number with four digits."""
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


def differences(settings, before):
    """Returns (field, old, new) for each setting whose value is not that in `before`, the `text` of earlier settings.

    Values are texts, None for none. A flag that the earlier program did not have counts as its `earlier`
    value, where that has an effect, or as its default.
    """
    old, new = parsed(before), settings.texts()
    changes = []
    for field in dataclasses.fields(settings):
        default = earlier(field) if field.name in new else field.default
        default = None if default is None else _text(default)
        pair = old.get(field.name, default), new.get(field.name)
        if pair[0] != pair[1] and field.metadata["on_resume"] is not CALL:
            changes.append((field, *pair))
    return changes


def type_of(field):
    """Returns the type of a field declared as `T`, `T | None` or `tuple[int, ...] | None`."""
    kinds = [kind for kind in typing.get_args(field.type) or (field.type,) if kind is not type(None)]
    return typing.get_origin(kinds[0]) or kinds[0]


# Bounds of numbers: in words, and what a number within them keeps to.
_BOUNDS = {
    "minimum": ("at least", operator.ge), "above": ("above", operator.gt),
    "maximum": ("at most", operator.le), "below": ("below", operator.lt),
}  # fmt: skip


def bounds(field):
    """Returns in words what values a flag takes; "" if any."""
    limits = field.metadata
    choices = [f"one of {', '.join(limits['choices'])}"] if limits["choices"] else []
    given = [f"{said} {limits[name]}" for name, (said, _) in _BOUNDS.items() if limits[name] is not None]
    return " and ".join(choices + given)


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


# Bounds that every number has: whole ones are int32 in some places, the others float32, whose subnormals count as 0.
_LARGEST_INTEGER = 2**31 - 1
_SMALLEST_FLOAT = 2.0**-126
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


def _check(field, value):
    limits, kind = field.metadata, type_of(field)
    kind = int if kind is tuple else kind
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"--{field.name}={value}: expected {KINDS[kind]}")
    if value == "":
        raise ValueError(f"--{field.name} is empty: give it a value, or leave it out")
    if limits["choices"] and value not in limits["choices"]:
        raise ValueError(f"--{field.name}={value}: expected {bounds(field)}")
    if kind in (int, float):
        _check_number(field, kind, value)


def _check_number(field, kind, value):
    if kind is int and value > _LARGEST_INTEGER:
        raise ValueError(f"--{field.name}={value}: expected at most {_LARGEST_INTEGER}")
    rounded = ctypes.c_float(value).value if kind is float else value
    if kind is float and not math.isfinite(rounded):
        raise ValueError(f"--{field.name}={value}: expected a finite number, in float32")
    if not _within(field, value):
        raise ValueError(f"--{field.name}={value}: expected {bounds(field)}")
    if not _within(field, 0.0 if abs(rounded) < _SMALLEST_FLOAT else rounded):
        raise ValueError(f"--{field.name}={value}: expected {bounds(field)}, also when rounded to float32")


def _within(field, value):
    """Returns whether a number is within the bounds of a flag."""
    limits = field.metadata
    return all(limits[name] is None or keeps(value, limits[name]) for name, (_, keeps) in _BOUNDS.items())
