"""Figures of groups of runs: learning curves, energies, and what the runs ended with.

Lines are medians over the runs of a group, bands reach from the lowest to the highest. Dotted lines are where the
learning rate falls, as far as the reports tell: right after the last one with the higher rate.
"""

import dataclasses
import statistics
from collections.abc import Callable

from common.results import drawing
from common.results.groups import relative

DROP = "_the learning rate falls"  # the underscore keeps it out of legends
_FEW = 40  # points on a line, of which each gets its marker
_PAPER = {"marker": "*", "color": "white", "markeredgecolor": "black", "markersize": 11, "linestyle": "none"}
_WIDE = 5.0  # largest through smallest value from which on an axis that may be logarithmic is


@dataclasses.dataclass(frozen=True)
class Series:
    """A quantity over time: `of_run(run) -> {updates done: value}`."""

    name: str
    of_run: Callable


@dataclasses.dataclass(frozen=True)
class Panel:
    """A pair of axes: its title, what is on the vertical one, the series there, and the least that it reaches up to."""

    title: str
    axis: str
    series: tuple[Series, ...]
    logarithmic: bool = False
    least: float = 0.0


def _of(split, field):
    return lambda run: run.curve(split, field)


def panels(power):
    """Returns the panels of learning curves with the hyperspherical energy of the power s."""
    return (
        Panel("error", "error, %", (Series("test", _of("test", "error")), Series("training", _of("train", "error")))),
        Panel(
            "loss without regularisation",
            "cross-entropy",
            (Series("test", _of("test", "loss")), Series("training", _of("train", "fit"))),
            logarithmic=True,
        ),
        Panel("loss with regularisation", "loss", (Series("training", _of("train", "loss")),), logarithmic=True),
        Panel(
            f"hyperspherical energy (s = {power})",
            "mean over layers",
            (Series("energy", lambda run: run.energy(power)),),
        ),
        Panel(
            "energy against its first value",
            "change, %",
            (Series("relative energy", lambda run: relative(run.energy(power))),),
            least=1e-3,
        ),
    )


def points(groups, power):
    """Returns rows {group, quantity, updates, median, lowest, highest, runs}: all lines of all panels, as numbers."""
    return [
        {
            "group": group.title,
            "quantity": f"{panel.title}, {series.name}" if len(panel.series) > 1 else panel.title,
            **dict(zip(("updates", "median", "lowest", "highest", "runs"), point)),
        }
        for panel in panels(power)
        for series in panel.series
        for group in groups
        for point in group.curve(series.of_run)
    ]


def learning_curves(group, power):
    """Returns a figure of one group: training and test in the same axes."""
    shown = [panel for panel in panels(power) if any(group.curve(series.of_run) for series in panel.series)]
    shape, axes = _figure(group.title, len(shown), 1)
    runs = len(group.runs)
    for panel, own in zip(shown, axes):
        for index, series in enumerate(panel.series):
            style = _one_of(index, dashed=series.name == "training")
            _line(own, group.curve(series.of_run), series.name, **style)
        _dress(own, panel, [group])
        own.legend(fontsize=8)
    words = f"median and range of {runs} runs" if runs > 1 else "one run"
    shape.supxlabel(f"{words}; dotted: the learning rate falls (at the latest by the next report)", fontsize=9)
    return shape


def comparison(groups, power):
    """Returns a figure of several groups: the errors they ended with, then each quantity in axes of its own."""
    shown = [
        (dataclasses.replace(panel, title=_title(panel, series), series=(series,)))
        for panel in panels(power)
        for series in panel.series
        if any(group.curve(series.of_run) for group in groups)
    ]
    ended = any(group.final_errors() for group in groups)
    shape, axes = _figure(_common(groups), len(shown) + ended, -(-len(groups) // 2) + 2)
    if ended:
        _final_errors(axes[0], groups)
    for panel, own in zip(shown, axes[ended:]):
        for index, group in enumerate(groups):
            _line(own, group.curve(panel.series[0].of_run), group.title, **drawing.style(index))
        _dress(own, panel, groups)
    handles = [_handle(group, index) for index, group in enumerate(groups)]
    handles.append(_mark("the learning rate falls", color="#666666", linestyle=":"))
    if any(group.paper is not None for group in groups):
        handles.append(_mark("the paper's figure (median of five runs)", **_PAPER))
    shape.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    return shape


def _title(panel, series):
    return f"{series.name} {panel.title}" if len(panel.series) > 1 else panel.title


def _figure(title, count, legend_lines):
    if not count:
        raise ValueError(f"{title}: there is no figure to draw yet; wait for a run's first report, or use --nodraw")
    shape, axes = drawing.figure(count, min(count, 3), legend_lines)
    shape.suptitle(title, fontsize=11)
    return shape, axes


def _common(groups):
    """What all groups are: network and data set, as far as they agree."""
    words = [{group.what[place] for group in groups} for place in (1, 2)]
    agreed = ", ".join(of_all.pop() for of_all in words if len(of_all) == 1)
    return f"{len(groups)} groups of runs: {agreed}" if agreed else f"{len(groups)} groups of runs"


def _one_of(index, dashed):
    return {**drawing.style(index), **({"linestyle": "--", "markerfacecolor": "white"} if dashed else {})}


def _line(axes, curve, label, **style):
    """Draws [(updates, median, lowest, highest, runs)]."""
    if not curve:
        return
    updates, median, lowest, highest, runs = zip(*curve)
    every = max(1, len(updates) // _FEW)
    axes.plot(updates, median, label=label, linewidth=1.4, markersize=4, markevery=every, **style)
    if max(runs) > 1:
        axes.fill_between(updates, lowest, highest, color=style["color"], alpha=0.18, linewidth=0)
        if len(updates) == 1:  # a band without width
            axes.vlines(updates, lowest, highest, color=style["color"], alpha=0.5)


def _dress(axes, panel, groups):
    """Titles, scale, and lines where rates fall."""
    for updates in sorted({drop for group in groups for run in group.runs for drop in run.drops()}):
        axes.axvline(updates, color="#666666", linestyle=":", linewidth=1, zorder=0, label=DROP)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("updates", fontsize=9)
    axes.set_ylabel(panel.axis, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.margins(x=0.03)
    axes.xaxis.get_major_locator().set_params(integer=True)
    heights = [height for line in axes.get_lines() if line.get_label() != DROP for height in line.get_ydata()]
    if panel.logarithmic and min(heights) > 0 and max(heights) > _WIDE * min(heights):
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    if max(map(abs, heights)) < panel.least:  # rounding is not to look like a change
        axes.set_ylim(-panel.least, panel.least)


def _final_errors(axes, groups):
    """Draws the newest test error of every run, their median, and the paper's figure."""
    values = [value for group in groups for value in (*group.final_errors(), group.paper) if value is not None]
    for index, group in enumerate(groups):
        errors, style = group.final_errors(), {**drawing.style(index), "linestyle": "none"}
        axes.plot(errors, [index] * len(errors), alpha=0.7, markersize=6, **style)
        if errors:
            axes.plot([statistics.median(errors)], [index], marker="|", color="black", markersize=16, linestyle="none")
        if group.paper is not None:
            axes.plot([group.paper], [index], **_PAPER)
    axes.set_yticks(range(len(groups)), [_short(group, groups) for group in groups], fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    if min(values) > 0 and max(values) > _WIDE * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    axes.set_title("test error of each run, and the median", fontsize=10)
    axes.set_xlabel("test error, %", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)


def _short(group, groups):
    """What tells a group from the others: its method, and what of the rest is not the same for all."""
    words = [group.what[0]]
    words += [group.what[place] for place in (1, 2) if len({other.what[place] for other in groups}) > 1]
    return group.label or ", ".join(words)


def _handle(group, index):
    """The entry of a group in the legend."""
    runs = f"{len(group.runs)} run{'' if len(group.runs) == 1 else 's'}"
    return _mark(f"{group.title} ({runs})", markersize=5, **drawing.style(index))


def _mark(label, **style):
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)
