"""Tables in Markdown and CSV."""

import csv
import io
import math

EMPTY = "-"


def markdown(rows):
    """Returns a Markdown table of rows {title: text} that have the same titles: the first column left, others right."""
    titles = list(rows[0])
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *(row.values() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(rows):
    """Returns rows {field: value} that have the same fields as CSV; None is an empty cell."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()


def number(value, form=",.3g"):
    """Returns a number in the given format; `EMPTY` for None."""
    return EMPTY if value is None else format(value, form)


def significant(value):
    """Returns a number with three digits, and no fewer than it has before the point; `EMPTY` for None."""
    if value is None or value == 0 or not math.isfinite(value):
        return number(value, "g")
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
