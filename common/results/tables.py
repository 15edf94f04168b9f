"""Tables in Markdown."""

import dataclasses
import math
from collections.abc import Callable

EMPTY = "-"


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table: its title, and what of a row it shows, as text (a missing figure is shown as `EMPTY`)."""

    title: str
    show: Callable


def table(rows, columns):
    """Returns a Markdown table: the first column to the left, all others to the right."""
    lines = [[column.title for column in columns], ["---"] + ["---:"] * (len(columns) - 1)]
    lines += [[column.show(row) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def text(field):
    """Shows a field as it is."""
    return lambda row: EMPTY if row.get(field) is None else str(row[field])


def number(field, form=",.3g"):
    """Shows a number in the given format."""
    return lambda row: EMPTY if row.get(field) is None else format(row[field], form)


def significant(value):
    """Three digits, and no fewer than there are before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
