"""What the figure shows, read off Matplotlib's objects."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib import colors  # noqa: E402

from common.results import figures, groups, runs, tables
from tests import run_folders  # noqa: E402

# Okabe and Ito's palette as they publish it, in parts of 255.
OKABE_ITO = {(0, 114, 178), (213, 94, 0), (0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 0, 0)}
ERRORS = np.array([[40.0, 20.0], [30.0, 26.0], [50.0, 24.0]])
PANELS = [
    "test error of each run, and the median", "test error", "training error", "test cross-entropy",
    "training loss without L2", "energy (s = 1) against its first value",
]  # fmt: skip


@pytest.fixture
def group(tmp_path):
    folders = [
        run_folders.write(tmp_path / f"{seed}", seed=seed, errors=list(zip((2, 4), row)))
        for seed, row in enumerate(ERRORS.tolist())
    ]
    return groups.grouped([runs.read(folder) for folder in folders])[0]


def test_no_two_groups_look_alike_and_all_colours_are_okabe_and_itos():
    styles = [figures.style(index) for index in range(24)]
    assert {tuple(round(255 * part) for part in colors.to_rgb(style["color"])) for style in styles} == OKABE_ITO
    assert len({tuple(style.values()) for style in styles}) == 24
    assert len({(style["marker"], style["linestyle"]) for style in styles[:9]}) == 9  # also without colours


def test_a_figure_of_one_group_has_six_panels_with_medians_and_ranges(group):
    shape = figures.draw([group], 1)
    assert shape.get_suptitle() == "opt_cp, CNN-6 64-64-64-64, digits"
    assert [axes.get_title() for axes in shape.axes] == PANELS
    (test,), (training,), (loss,), (energy,) = (shape.axes[index].get_lines() for index in (1, 2, 4, 5))
    np.testing.assert_allclose(test.get_xydata(), np.stack([[2, 4], np.median(ERRORS, 0)], 1))
    band = shape.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (20.0, 50.0)
    np.testing.assert_allclose(training.get_ydata(), [100, 50, 100 / 3, 25])
    np.testing.assert_allclose(loss.get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4])  # without the 500 of constants
    np.testing.assert_allclose(energy.get_xydata(), [[0, 0], [2, 1.25], [4, 2.5]], atol=1e-9)


def test_a_panel_without_numbers_is_not_there_and_nothing_to_draw_is_said(group):
    assert [axes.get_title() for axes in figures.draw([group], 2).axes] == PANELS[:5]  # there is no energy_2
    empty = groups.Group(("a", "b", "c"), (runs.Run("x"),))
    with pytest.raises(ValueError, match="nothing to draw yet"):
        figures.draw([empty, empty], 1)


def test_a_change_that_is_rounding_is_drawn_flat(group):
    run = group.runs[0]
    flat = {key: {**line, "energy_1": {"a": 0.7 + 1e-9 * key[0]}} for key, line in run.metrics.items()}
    shape = figures.draw([dataclasses.replace(group, runs=(dataclasses.replace(run, metrics=flat),))], 1)
    assert shape.axes[-1].get_ylim() == (-1e-3, 1e-3)
    assert runs.relative({0: 0.5, 10: 0.505, 20: 0.5}) == pytest.approx({0: 0, 10: 1.0, 20: 0})
    assert runs.relative({10: 0.5}) == {} and runs.relative({}) == {}


def test_groups_are_named_by_what_differs_and_the_papers_number_is_marked(group):
    other = dataclasses.replace(group, names=("SGD-G", "WRN-28-10", "digits"), paper=3.85, runs=group.runs[:1])
    shape = figures.draw([group, other], 1)
    assert shape.get_suptitle() == "digits"
    (legend,) = shape.legends
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "opt_cp, CNN-6 64-64-64-64 (3 runs)",
        "SGD-G, WRN-28-10 (1 run)",
        "the paper's number (median of five runs)",
    ]
    final = shape.axes[0]
    assert [label.get_text() for label in final.get_yticklabels()] == ["opt_cp, CNN-6 64-64-64-64", "SGD-G, WRN-28-10"]
    drawn = [(line.get_marker(), sorted(line.get_xdata())) for line in final.get_lines()]
    assert drawn[:2] == [("o", [20.0, 24.0, 26.0]), ("|", [24.0])]
    assert drawn[2:] == [("s", [20.0]), ("|", [20.0]), ("*", [3.85])]
    assert len(shape.axes[1].get_lines()) == 2


def test_all_numbers_of_the_figure(group):
    rows = figures.points([group], 1)
    common = {"group": group.title, "quantity": "test error", "runs": 3}
    assert [row for row in rows if row["quantity"] == "test error"] == [
        {**common, "updates": 2, "median": 40.0, "lowest": 30.0, "highest": 50.0},
        {**common, "updates": 4, "median": 24.0, "lowest": 20.0, "highest": 26.0},
    ]
    assert [row["median"] for row in rows if row["quantity"] == "energy (s = 1)"] == pytest.approx([0.8, 0.81, 0.82])


def test_the_same_figure_gives_the_same_files(tmp_path, group):
    for name in ("a.svg", "b.svg", "a.png"):
        figures.save(figures.draw([group], 1), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "opt_cp" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_was_measured_on_a_holdout_says_so(group):
    run = group.runs[0]
    metrics = {(step, split.replace("test", "holdout")): line for (step, split), line in run.metrics.items()}
    other = dataclasses.replace(group, runs=(dataclasses.replace(run, metrics=metrics),))
    titles = [axes.get_title() for axes in figures.draw([other], 1).axes]
    assert titles == [title.replace("test", "holdout") for title in PANELS]
    titles = [axes.get_title() for axes in figures.draw([group, other], 1).axes]
    assert titles == [title.replace("test", "test or holdout") for title in PANELS]
    (row,) = tables.texts([other])
    assert (row["final test error, %"], tables.values(other)["split"]) == ("20.00, holdout", "holdout")


def test_groups_of_two_kinds_have_panels_of_their_own_and_share_styles(group):
    def of(label, kind, legend):
        return dataclasses.replace(group, label=label, kind=kind, legend=legend)

    shape = figures.draw(
        [of("plain", "", "plain"), of("a, one", "one", "a"), of("b, one", "one", "b"), of("b, two", "two", "b"),
         of("plain, longer", None, "plain")], 1,
    )  # fmt: skip
    change = PANELS[-1]
    assert [axes.get_title() for axes in shape.axes] == [
        PANELS[0], "test error: one", "test error: two", f"{change}: one", f"{change}: two",
    ]  # fmt: skip
    final, one, two = [[line.get_color() for line in axes.get_lines()] for axes in shape.axes[:3]]
    assert len(set(one)) == 3 and two == [one[0], one[2]]  # those of one name look alike, whichever rows are there
    assert final[::2] == [*one, one[2], one[0]]  # between them the medians
    assert [label.get_text() for label in shape.axes[0].get_yticklabels()] == [
        "plain", "a, one", "b, one", "b, two", "plain, longer",
    ]  # fmt: skip
    assert [entry.get_text() for entry in shape.legends[0].get_texts()] == ["plain", "a", "b"]


def test_logarithmic_axes_have_plain_numbers(group):
    run = group.runs[0]
    metrics = {key: {**line, "error": 8 * 2.0 ** (key[0] / 2)} for key, line in run.metrics.items()}  # 16 to 32 %
    low = dataclasses.replace(group, runs=(dataclasses.replace(run, metrics=metrics),))
    high = {key: {**line, "error": 4 * line["error"]} for key, line in metrics.items()}
    shape = figures.draw([low, dataclasses.replace(group, runs=(dataclasses.replace(run, metrics=high),))], 1)
    shape.canvas.draw()
    axis = shape.axes[1].yaxis
    assert axis.get_scale() == "log"
    shown = {label.get_text() for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))} - {""}
    assert shown >= {"20", "40", "100"} and all(float(text) for text in shown)
