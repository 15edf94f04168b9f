"""Matplotlib, imported only when something is drawn, and how all figures look.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers can tell apart; yellow is
left out, as it is hard to see on white. Markers and line styles tell the same apart without any colour.
"""

import importlib

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
STYLES = ("-", "--", "-.", ":")
FORMATS = ("png", "svg")


def library(advice):
    """Returns the module matplotlib. Raises ValueError(advice) if it is not installed."""
    try:
        return importlib.import_module("matplotlib")
    except ImportError:
        raise ValueError(advice) from None


def style(index):
    """Returns what tells the line number `index` (from 0) apart from the others, as Matplotlib's arguments."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": STYLES[index // len(COLOURS) % len(STYLES)],
    }


def figure(panels, columns, legend_lines):
    """Returns (figure, its axes) with room for so many panels, in rows of `columns`, and lines of legend below.

    Raises ValueError if Matplotlib is not installed.
    """
    library("figures need Matplotlib: pip install -e '.[report]', or ask for the table alone with --nodraw")
    from matplotlib.figure import Figure

    rows = -(-panels // columns)
    shape = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.22 * legend_lines + 0.4), layout="constrained")
    return shape, [shape.add_subplot(rows, columns, index + 1) for index in range(panels)]


def save(shape, path):
    """Writes a figure into a PNG or SVG file, as the path ends; the same figure gives the same bytes."""
    matplotlib = library("")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "results"}):
        shape.savefig(path, dpi=130, metadata={"Date": None} if str(path).endswith(".svg") else None)
