"""Files of results, and tables made of them."""

import json

import pytest

from benchmarks import report
from benchmarks.report import Column

KEY = ("map", "n", "device")


def results(run, *rows):
    return {**report.new("maps", {"date": run}), "rows": [{"run": 0, "device": "cpu", **row} for row in rows]}


def test_a_file_grows_by_parts_and_rows_are_replaced(tmp_path):
    path = tmp_path / "maps.json"
    report.write(path, results("monday", {"map": "a", "n": 8, "ms": 1.0}, {"map": "b", "n": 8, "ms": 2.0}), KEY)
    report.write(path, results("tuesday", {"map": "b", "n": 8, "ms": 3.0}, {"map": "b", "n": 16, "ms": 4.0}), KEY)
    read = report.read(path)
    assert [(row["map"], row["n"], row["ms"], read["runs"][row["run"]]["date"]) for row in read["rows"]] == [
        ("a", 8, 1.0, "monday"),
        ("b", 8, 3.0, "tuesday"),
        ("b", 16, 4.0, "tuesday"),
    ]
    report.write(path, results("friday", {"map": "a", "n": 8, "ms": 5.0}), KEY)
    assert [run["date"] for run in report.read(path)["runs"]] == ["friday", "tuesday"]


def test_what_json_does_not_know_becomes_null(tmp_path):
    path = tmp_path / "maps.json"
    report.write(path, results("monday", {"map": "a", "n": 8, "ms": float("nan"), "high": [float("inf")]}), KEY)
    assert json.loads(path.read_text())["rows"][0]["ms"] is None
    assert json.loads(path.read_text())["rows"][0]["high"] == [None]


@pytest.mark.parametrize("content", ["", "[1]", '{"rows": []}', "\x00"])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a file of results") as caught:
        report.read(path)
    assert "\n" not in str(caught.value)


def test_results_of_another_benchmark_are_refused():
    with pytest.raises(ValueError, match="holds results of step, not of maps"):
        report.merged(report.new("step", {}), report.new("maps", {}), KEY)


def test_a_table():
    rows = [
        {"map": "cayley", "ms": 12.345, "ms_low": 1234.5, "ms_high": 0.012345, "turns": 9, "nodes": 12345},
        {"map": "slow", "ms": 27000.0, "ms_low": 27000.0, "ms_high": 27000.0, "turns": 1},
    ]
    columns = [Column("map", report.text("map")), Column("ms", report.times())]
    columns.append(Column("n", report.number("nodes", ",d")))
    assert report.table(rows, columns) == (
        "| map | ms | n |\n| --- | ---: | ---: |\n"
        "| cayley | 12.3 (1,234..0.0123) | 12,345 |\n| slow | 27,000 (once) | - |\n"
    )


def test_rows_of_the_gpu_stand_beside_those_of_the_cpu():
    cpu = {"map": "a", "n": 8, "device": "cpu", "ms": 2.0}
    gpu = {"map": "a", "n": 8, "device": "gpu", "ms": 1.0}
    alone = {"map": "b", "n": 8, "device": "gpu", "ms": 3.0}
    both, other = report.of_gpu([gpu, cpu, alone], KEY)
    assert (both["ms"], both["gpu"]["ms"], other.get("ms"), other["gpu"]["ms"]) == (2.0, 1.0, None, 3.0)


def test_a_table_without_a_gpu_says_so():
    assert "not measured on one" in report.footnotes(results("monday", {"map": "a", "n": 8}))
    assert "GPU" not in report.footnotes(results("monday", {"map": "a", "n": 8, "device": "gpu"}))
