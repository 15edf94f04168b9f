"""What the figures show, read off Matplotlib's objects."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib import colors  # noqa: E402

from common.results import drawing, figures, groups, runs
from tests import run_folders  # noqa: E402

# Okabe and Ito's palette as they publish it, in parts of 255.
OKABE_ITO = {(0, 114, 178), (213, 94, 0), (0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 0, 0)}
ERRORS = np.array([[40.0, 20.0], [30.0, 26.0], [50.0, 24.0]])


@pytest.fixture
def group(tmp_path):
    folders = [
        run_folders.write(tmp_path / f"{seed}", seed=seed, errors=list(zip((2, 4), row)))
        for seed, row in enumerate(ERRORS.tolist())
    ]
    return groups.grouped([runs.read(folder) for folder in folders])[0]


def axes_called(shape, title):
    (axes,) = [axes for axes in shape.axes if axes.get_title() == title]
    return axes


def test_no_two_lines_look_alike_and_all_colours_are_okabe_and_itos():
    styles = [drawing.style(index) for index in range(24)]
    assert {tuple(round(255 * part) for part in colors.to_rgb(style["color"])) for style in styles} == OKABE_ITO
    assert len({tuple(style.values()) for style in styles}) == 24
    assert len({(style["marker"], style["linestyle"]) for style in styles[:9]}) == 9  # also without colours


def test_learning_curves_of_a_group(group):
    shape = figures.learning_curves(group, 1)
    assert shape.get_suptitle() == "opt_cp, CNN-6 64-64-64-64, digits"
    error = axes_called(shape, "error")
    lines = {line.get_label(): line for line in error.get_lines()}
    np.testing.assert_allclose(lines["test"].get_xydata(), np.stack([[2, 4], np.median(ERRORS, 0)], 1))
    np.testing.assert_allclose(lines["training"].get_ydata(), [100, 50, 100 / 3, 25])
    assert lines["test"].get_linestyle() != lines["training"].get_linestyle()
    assert lines["test"].get_color() != lines["training"].get_color()
    band = error.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (20.0, 50.0)
    assert list(lines[figures.DROP].get_xdata()) == [2, 2]
    assert [entry.get_text() for entry in error.get_legend().get_texts()] == ["test", "training"]
    assert "median and range of 3 runs" in shape.get_supxlabel()


def test_energy_over_time_and_against_its_start(group):
    shape = figures.learning_curves(group, 1)
    (energy, *_) = axes_called(shape, "hyperspherical energy (s = 1)").get_lines()
    np.testing.assert_allclose(energy.get_xydata(), [[0, 0.8], [2, 0.81], [4, 0.82]])
    (relative, *_) = axes_called(shape, "energy against its first value").get_lines()
    np.testing.assert_allclose(relative.get_ydata(), [0, 1.25, 2.5], atol=1e-9)
    titles = [axes.get_title() for axes in figures.learning_curves(group, 2).axes]
    assert titles == ["error", "loss without regularisation", "loss with regularisation"]  # no energy_2 there


def test_a_change_that_is_rounding_is_drawn_flat(group):
    run = group.runs[0]
    flat = {key: {**figures, "energy_1": {"a": 0.7 + 1e-9 * key[0]}} for key, figures in run.records.items()}
    shape = figures.learning_curves(dataclasses.replace(group, runs=(dataclasses.replace(run, records=flat),)), 1)
    assert axes_called(shape, "energy against its first value").get_ylim() == (-1e-3, 1e-3)


def test_a_comparison_names_method_network_and_data_and_marks_the_papers_figure(group):
    other = dataclasses.replace(group, what=("SGD-G", "WRN-28-10", "cifar10"), paper=3.85, runs=group.runs[:1])
    shape = figures.comparison([group, other], 1)
    (legend,) = shape.legends
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "opt_cp, CNN-6 64-64-64-64, digits (3 runs)",
        "SGD-G, WRN-28-10, cifar10 (1 run)",
        "the learning rate falls",
        "the paper's figure (median of five runs)",
    ]
    final = shape.axes[0]
    names = [label.get_text() for label in final.get_yticklabels()]
    assert names == ["opt_cp, CNN-6 64-64-64-64, digits", "SGD-G, WRN-28-10, cifar10"]
    drawn = [(line.get_marker(), sorted(line.get_xdata())) for line in final.get_lines()]
    assert drawn[:2] == [("o", [20.0, 24.0, 26.0]), ("|", [24.0])]
    assert drawn[2:] == [("s", [20.0]), ("|", [20.0]), ("*", [3.85])]
    test = axes_called(shape, "test error")
    assert [line.get_label() for line in test.get_lines() if line.get_label() != figures.DROP] == [group.title, other.title]


def test_nothing_to_draw_is_said(tmp_path):
    group = groups.Group(("a", "b", "c"), (runs.Run("x"),))
    for draw in (lambda: figures.learning_curves(group, 1), lambda: figures.comparison([group, group], 1)):
        with pytest.raises(ValueError, match="no figure to draw yet"):
            draw()


def test_all_numbers_of_the_figures(group):
    rows = figures.points([group], 1)
    errors = [row for row in rows if row["quantity"] == "error, test"]
    assert errors == [
        {"group": group.title, "quantity": "error, test", "updates": 2, "median": 40.0, "lowest": 30.0, "highest": 50.0, "runs": 3},
        {"group": group.title, "quantity": "error, test", "updates": 4, "median": 24.0, "lowest": 20.0, "highest": 26.0, "runs": 3},
    ]  # fmt: skip


def test_the_same_figure_gives_the_same_files(tmp_path):
    for name in ("a.svg", "b.svg", "a.png"):
        shape, (axes,) = drawing.figure(1, 1, 1)
        axes.plot([1, 2], [3, 4], label="opt_cp", **drawing.style(0))
        axes.legend()
        drawing.save(shape, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "opt_cp" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
