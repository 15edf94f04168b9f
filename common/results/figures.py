"""The figure of groups of runs: what they ended with, their errors and losses, and how far the energy moved.

Lines are medians over the runs of a group, bands reach from the lowest to the highest. Colours are those of Okabe and
Ito (Color Universal Design, 2008) without yellow, which is hard to see on white; markers and line styles tell groups
apart without colours. Matplotlib is imported only to draw.
"""

import dataclasses
import statistics
from collections.abc import Callable

from common.results.runs import relative

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
STYLES = ("-", "--", "-.", ":")
FORMATS = (".png", ".svg")
_FEW = 40  # points on a line that get markers
_WIDE = 3.0  # largest over smallest value from which on an axis is logarithmic
_ROUNDING = 1e-3  # percent: an axis of changes reaches so far at least
_PAPER = {"marker": "*", "color": "white", "markeredgecolor": "black", "markersize": 11, "linestyle": "none"}


@dataclasses.dataclass(frozen=True)
class Panel:
    """A quantity over time: its title, its axis, `of_run(run) -> {updates done: value}`."""

    title: str
    axis: str
    of_run: Callable
    logarithmic: bool = True


def _panels(power, groups):
    """Returns the panels of curves of groups, with the hyperspherical energy of power s."""
    split = _named(run.validated for group in groups for run in group.runs)
    loss = lambda run: run.curve(run.validated, "cross_entropy", "fit", "loss")  # noqa: E731
    change = f"energy (s = {power}) against its first value"
    return (
        Panel(f"{split} error", "error, %", lambda run: run.curve(run.validated, "error")),
        Panel("training error", "error, %", lambda run: run.curve("train", "error")),
        Panel(f"{split} cross-entropy", "mean over images", loss),
        Panel("training loss without L2", "mean over images", lambda run: run.curve("train", "fit")),
        Panel(change, "change, %", lambda run: relative(run.energy(power)), logarithmic=False),
    )


def _named(splits):
    """Returns what the error of these splits is called: that of one split, else "test or holdout"."""
    return " or ".join(sorted(set(splits), reverse=True)) or "test"


def points(groups, power):
    """Returns rows {group, quantity, updates, median, lowest, highest, runs}: all panels, and the energy."""
    energy = Panel(f"energy (s = {power})", "mean over layers", lambda run: run.energy(power))
    fields = ("updates", "median", "lowest", "highest", "runs")
    return [
        {"group": group.title, "quantity": panel.title, **dict(zip(fields, point))}
        for panel in (*_panels(power, groups), energy)
        for group in groups
        for point in group.curve(panel.of_run)
    ]


def _shown(groups, power):
    """Returns [(panel, numbers of the groups in it)] that have points; for each kind one of error and of energy."""
    made = _panels(power, groups)
    kinds = [kind for kind in dict.fromkeys(group.kind for group in groups) if kind]
    shown = [(panel, range(len(groups))) for panel in made]
    if kinds:
        shown = [
            (dataclasses.replace(panel, title=f"{panel.title}: {kind}"), _of_kind(groups, kind))
            for panel in (made[0], made[-1])
            for kind in kinds
        ]
    return [(panel, own) for panel, own in shown if any(groups[index].curve(panel.of_run) for index in own)]


def _of_kind(groups, *kinds):
    return [index for index, group in enumerate(groups) if group.kind in ("", *kinds)]


def _styles(groups):
    """Returns the style of each group: where there are kinds, those of one name look alike, for no panel has both."""
    kinds = any(group.kind for group in groups)
    looks = [_name(group) if kinds else number for number, group in enumerate(groups)]
    numbers = list(dict.fromkeys(looks))
    return [style(numbers.index(look)) for look in looks]


def _name(group):
    """What a legend calls groups that differ in kind or length only."""
    return group.legend or group.names[0]


def draw(groups, power):
    """Returns the figure of groups. Raises ValueError if Matplotlib is missing or nothing can be drawn yet."""
    shown, styles = _shown(groups, power), _styles(groups)
    errors = [[newest for newest, _ in group.errors()] for group in groups]
    title, labels = _labels(groups)
    if not shown and not any(errors):
        raise ValueError(f"{title}: nothing to draw yet; wait for a run's first report, or use --nodraw")
    legend = _legend(groups, labels, styles)
    height = max(3.3, 0.16 * len(groups))
    shape, axes = _figure(len(shown) + any(errors), height, -(-len(legend) // 3) + 1)
    shape.suptitle(title, fontsize=11)
    if any(errors):
        _final_errors(axes[0], errors, groups, labels, styles)
    for (panel, own), place in zip(shown, axes[any(errors) :]):
        for index in own:
            _line(place, groups[index].curve(panel.of_run), styles[index])
        _finish(place, panel)
    _draw_legend(shape, legend)
    return shape


def save(shape, path):
    """Writes a figure into a PNG or SVG file, as the path ends; the same figure gives the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "results"}):
        shape.savefig(path, dpi=100, metadata={"Date": None} if str(path).endswith(".svg") else None)


def style(index):
    """Returns what tells the group number `index` (from 0) apart from the others, as Matplotlib's arguments."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": STYLES[index // len(COLOURS) % len(STYLES)],
    }


def _figure(count, height, legend_lines):
    """Returns (figure, `count` axes in rows of three)."""
    try:
        import matplotlib.figure
    except ImportError:
        advice = "figures need Matplotlib: pip install -e '.[report]', or ask for the table alone with --nodraw"
        raise ValueError(advice) from None
    columns = min(count, 3)
    rows = -(-count // columns)
    size = 4.6 * columns, height * rows + 0.22 * legend_lines + 0.4
    shape = matplotlib.figure.Figure(figsize=size, layout="constrained")
    return shape, [shape.add_subplot(rows, columns, index + 1) for index in range(count)]


def _labels(groups):
    """Returns (the names that all groups share, for each group what tells it from the others)."""
    shared = [name for name in groups[0].names if all(name in group.names for group in groups)]
    others = [
        ", ".join([*(name for name in group.names if name not in shared), *group.differing]) for group in groups
    ]
    labels = [group.label or other or group.title for group, other in zip(groups, others)]
    return ", ".join(shared) or f"{len(groups)} groups of runs", labels


def _line(axes, curve, style):
    """Draws [(updates, median, lowest, highest, runs)]."""
    if not curve:
        return
    updates, median, lowest, highest, runs = zip(*curve)
    every = max(1, len(updates) // _FEW)
    axes.plot(updates, median, linewidth=1.4, markersize=4, markevery=every, **style)
    if max(runs) > 1:
        axes.fill_between(updates, lowest, highest, color=style["color"], alpha=0.12, linewidth=0)


def _finish(axes, panel):
    """Titles and scale."""
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("updates", fontsize=9)
    axes.set_ylabel(panel.axis, fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    heights = [height for line in axes.get_lines() for height in line.get_ydata()]
    if panel.logarithmic and _is_wide(heights):
        axes.set_yscale("log")
        _plain(axes.yaxis)
    elif not panel.logarithmic and max(map(abs, heights)) < _ROUNDING:  # rounding is not to look like a change
        axes.set_ylim(-_ROUNDING, _ROUNDING)


def _plain(axis):
    """Has a logarithmic axis say 20 in place of 2 x 10^1."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 1)))


def _is_wide(numbers):
    return min(numbers) > 0 and max(numbers) > _WIDE * min(numbers)


def _final_errors(axes, errors, groups, labels, styles):
    """Draws the newest error of every run, a row for each group, with their median and the paper's number."""
    split = _named(group.split for group in groups)
    for index, (own, group) in enumerate(zip(errors, groups)):
        axes.plot(own, [index] * len(own), alpha=0.7, markersize=6, **{**styles[index], "linestyle": "none"})
        if own:
            axes.plot([statistics.median(own)], [index], marker="|", color="black", markersize=16, linestyle="none")
        if group.paper is not None:
            axes.plot([group.paper], [index], **_PAPER)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    if _is_wide([number for line in axes.get_lines() for number in line.get_xdata()]):
        axes.set_xscale("log")
        _plain(axes.xaxis)
    axes.set_title(f"{split} error of each run, and the median", fontsize=10)
    axes.set_xlabel(f"{split} error, %", fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.grid(axis="x", alpha=0.3)


def _legend(groups, labels, styles):
    """Returns [(text, style)]: the groups with their runs; of groups that look alike the name that they share."""
    if any(group.kind for group in groups):
        return list({_name(group): style for group, style in zip(groups, styles) if group.kind is not None}.items())
    counts = [f"{len(group.runs)} run{'' if len(group.runs) == 1 else 's'}" for group in groups]
    entries = [(f"{label} ({count})", style) for label, count, style in zip(labels, counts, styles)]
    has_paper = any(group.paper is not None for group in groups)
    return entries + ([("the paper's number (median of five runs)", _PAPER)] if has_paper else [])


def _draw_legend(shape, entries):
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=text, **{"markersize": 5, **style}) for text, style in entries]
    shape.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
