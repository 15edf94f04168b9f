"""The command that reports on runs."""

import csv
import subprocess
import sys

import pytest

from common import report
from common.results import figures, papers, rows
from tests import run_folders
from tests.fuzzing.driver import ROOT


@pytest.fixture
def folder(tmp_path):
    """Three runs of opt_cp, one of them unfinished, and one of opt_gs, on digits."""
    for seed, error in enumerate((20.0, 10.0)):
        run_folders.write(tmp_path / "runs" / "cp" / f"seed-{seed}", seed=seed, errors=[(2, 5.0), (4, error)])
    run_folders.write(tmp_path / "runs" / "cp" / "seed-2", seed=2, errors=[(2, 90.0)])
    run_folders.write(tmp_path / "runs" / "gs", method="opt_gs", errors=[(2, 30.0), (4, 31.0)])
    return str(tmp_path / "runs")


def reported(words, **flags):
    return report.run(words, report.Settings(**flags))


TABLE = """\
| method | network | data | runs | updates | final test error, % | best test error, % | images/s | seconds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| opt_cp | CNN-6 64-64-64-64 | digits | 2 of 3 finished | 4 | 15.00 (10.00..20.00) | 5.00 | 320 | 0.400 |
| opt_gs | CNN-6 64-64-64-64 | digits | 1 | 4 | 31.00 | 30.00 | 320 | 0.400 |
"""


def test_the_table_is_printed_and_written_and_what_is_unfinished_said(folder, tmp_path, capsys):
    assert reported([folder], out=str(tmp_path / "out"), draw=False) == 0
    out, err = capsys.readouterr()
    assert out == TABLE == (tmp_path / "out" / "report.md").read_text()
    assert f"{folder}/cp/seed-2 is unfinished: 2 of 4 updates" in err.splitlines()
    rows = list(csv.DictReader(open(tmp_path / "out" / "report.csv")))
    assert [(row["method"], row["runs"], row["finished"], row["final_error"]) for row in rows] == [
        ("opt_cp", "3", "2", "15.0"), ("opt_gs", "1", "1", "31.0"),
    ]  # fmt: skip
    curves = list(csv.DictReader(open(tmp_path / "out" / "report-curves.csv")))
    assert {row["group"] for row in curves} == {f"opt_{name}, CNN-6 64-64-64-64, digits" for name in ("cp", "gs")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "report.csv", "report-curves.csv"}


def test_csv_labels_and_files_by_name(folder, tmp_path, capsys):
    assert reported([folder], out=f"{tmp_path}/a.csv,{tmp_path}/b.md", labels="mine,yours", format="csv") == 0
    out = capsys.readouterr().out
    assert out == (tmp_path / "a.csv").read_text() and out.startswith("label,method,") and "\nmine,opt_cp" in out
    assert "| yours |" in (tmp_path / "b.md").read_text()


def test_the_papers_error_stands_beside_and_is_marked(tmp_path, capsys):
    (row,) = [row for row in papers.tables()["riemannian-svhn"].rows if row.name == "vgg19-sgdg"]
    flags = {
        **rows.defaults(rows.settings_of("grassmann")),
        **rows.values(row.flags),
        "data": "svhn",
        "widths": None,
    }
    run_folders.write(tmp_path / "run", "grassmann", **{**flags, "batch_size": 128, "crop_size": 32})
    assert reported([str(tmp_path / "run")], out=str(tmp_path / "out"), draw=False) == 0
    out = capsys.readouterr().out
    assert "| the paper's test error, % |" in out and "| 1.81 (paper) |" in out and "| SGD-G | VGG-19 | svhn |" in out


def test_one_figure_is_drawn_of_all_groups(folder, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda shape, path: drawn.setdefault(path, shape.get_suptitle()))
    assert reported([folder], out=str(tmp_path / "out")) == 0
    assert drawn == {f"{tmp_path}/out/report.{ending}": "CNN-6 64-64-64-64, digits" for ending in ("png", "svg")}


def test_home_folders_are_expanded(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reported(["~/runs"], out="~/a/b", draw=False) == 0 and (tmp_path / "a" / "b" / "report.md").exists()
    assert reported(["~/runs"], out="~/c.md,~/d/e.csv", draw=False) == 0 and (tmp_path / "d" / "e-curves.csv").exists()


def test_without_matplotlib_the_table_is_there_and_one_line_says_what_to_install(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    assert reported([folder], out=str(tmp_path / "out"), draw=False) == 0
    with pytest.raises(ValueError, match=r"pip install -e '\.\[report\]'"):
        reported([folder], out=str(tmp_path / "out"))
    assert capsys.readouterr().out == 2 * TABLE and (tmp_path / "out" / "report.md").read_text() == TABLE


@pytest.mark.parametrize(
    "words, flags, message",
    [
        ([], {}, "which runs"),
        (["{empty}"], {}, "holds no run"),
        (["{empty}/none"], {}, "is not a folder"),
        (["{runs}"], {"out": "{empty}/a.gif,b.png"}, "expected a folder, or files"),
        (["{runs}"], {"out": "a,b"}, "expected a folder, or files"),
        (["{runs}"], {"out": "{runs}/gs/log.txt"}, "expected a folder, or files that end in"),
        (["{runs}"], {"out": "{runs}/gs/log.txt/x", "draw": False}, "cannot make the folder"),
        (["{runs}"], {"labels": "a,b,c"}, "3 names for 2 groups"),
        (["{runs}"], {"energy": 3}, "at most 2"),
        (["{runs}"], {"format": "html"}, "one of markdown, csv"),
    ],
)
def test_bad_input_is_an_error(folder, tmp_path, words, flags, message):
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "runs": folder}
    flags = {name: value.format(**places) if isinstance(value, str) else value for name, value in flags.items()}
    with pytest.raises(ValueError, match=message):
        reported([word.format(**places) for word in words], **flags)


BLOCKED = """
import runpy, sys
sys.modules.update(dict.fromkeys(("tensorflow", "matplotlib", "scipy", "sklearn")))
sys.argv[0] = sys.argv.pop(1)
runpy.run_module("common." + sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    "arguments, status, out, err",
    [
        ("report {runs} --nodraw --out={out} --format=markdown", 0, TABLE, "unfinished"),
        ("report --help", 0, "--energy: the s of the hyperspherical energy", ""),
        ("reproduce --help", 0, "--rows: names of the rows wanted", ""),
        ("report", 1, "", "error: which runs?"),
        ("report --formt=csv", 1, "", "error: Unknown command line flag"),
        ("report --energy=x {runs}", 1, "", "error: "),
        ("reproduce none", 1, "", "error: there is no table 'none'"),
    ],
)
def test_the_commands_do_without_tensorflow(folder, tmp_path, arguments, status, out, err):
    """As a user types them, in a process where importing TensorFlow or Matplotlib is an error."""
    words = arguments.format(runs=folder, out=tmp_path / "out").split()
    done = subprocess.run([sys.executable, "-c", BLOCKED, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert out in done.stdout and err in done.stderr
    assert done.stderr.count("\n") == (2 if err == "unfinished" else bool(err))
