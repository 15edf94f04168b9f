"""Rows of tables: a folder with flags of its train.py. What their flags mean, and when two are the same."""

import dataclasses
import pathlib

from common.cli import start
from common.cli.settings import Common
from common.flags import REFUSED, STEERS, earlier

ROOT = pathlib.Path(__file__).resolve().parents[2]  # of the clone


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      name: of its folder.
      folder: where its train.py is.
      flags: of its command, without data set, seed and run folder.
      paper: {data set: the paper's test error in percent}.
      label: what tables and legends call it; None for method, network and data set.
      kind: rows of one kind share panels of the figure; those of kind "" are in all of them, of kind None in none.
      rates: candidates, each the flags of its rates; the best one on a holdout is chosen. None needed if empty.
      share: of the table's length.
      longer: how many times as long the run is; its rates are those of the row itself.
      data: the set of fewshot.py that is trained on; None for the table's data set.
      begins_at: name of the row whose run of the same seed it begins at (--fixed).
    """

    name: str
    folder: str
    flags: tuple[str, ...]
    paper: dict = dataclasses.field(default_factory=dict)
    label: str | None = None
    kind: str | None = ""
    rates: tuple[tuple[str, ...], ...] = ()
    share: float = 1.0
    longer: int = 1
    data: str | None = None
    begins_at: str | None = None

    @property
    def subfolder(self):
        """The name of the folder of its runs, within the table's."""
        return self.name if self.longer == 1 else f"{self.name}-{self.longer}x"

    @property
    def title(self):
        """The label with the kind, and the length if that is another one; None without a label."""
        longer = f"{self.longer} x updates" if self.longer > 1 else None
        return ", ".join(filter(None, (self.label, self.kind, longer))) if self.label else None

    @property
    def method(self):
        """What the first line of flags.txt calls it."""
        rotation = values(self.flags).get("rotation")
        return f"{self.folder}-{rotation}" if rotation else self.folder


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      name: of it.
      rows: its `Row`s.
      data: the data sets it may be made for.
      default: those it is made for if none is named.
      steps: updates of a run; None if the programs' own presets say so.
      widths: of the programs that have --widths; None if the rows say so.
      holdout: {data set: images kept apart where rates are chosen}.
    """

    name: str
    rows: tuple[Row, ...]
    data: tuple[str, ...]
    default: tuple[str, ...]
    steps: int | None = None
    widths: str | None = None
    holdout: dict = dataclasses.field(default_factory=dict)


def values(flags):
    """Returns {name: text} of flags as a command line has them; the last of equal names counts, as it does there."""
    pairs = [flag.lstrip("-").partition("=") for flag in flags]
    return dict((name, value) if equals else _switch(name) for name, equals, value in pairs)


def _switch(name):
    """--xla is --xla=True, --noxla is --xla=False."""
    return (name[2:], "False") if name.startswith("no") else (name, "True")


def settings_of(method):
    """Returns the settings class of the program whose run folders say `method`; `Common` for an unknown one."""
    module = start.train_modules().get(method.partition("-")[0])
    return module.Settings if module else Common


def defaults(settings_class):
    """Returns {name: text} of what decides what is trained, apart from the seed: what a run has that does not say."""
    deciding = set(settings_class.names(REFUSED, STEERS)) - {"seed"}
    values = {field.name: earlier(field) for field in dataclasses.fields(settings_class) if field.name in deciding}
    return {name: str(value) for name, value in values.items() if value is not None}


def differing(wanted, flags, ignored):
    """Returns [(name, value in `flags`, wanted value)] of the flags that are not as wanted; None is no value."""
    pairs = [(name, flags.get(name), value) for name, value in wanted.items() if name not in ignored]
    return [(name, value, expected) for name, value, expected in pairs if not same(value, expected)]


def same(first, second):
    """Returns whether two values of a flag are one: 0.10 is 0.1."""
    try:
        return float(first) == float(second)
    except (TypeError, ValueError):
        return first == second
