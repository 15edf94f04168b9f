"""Files of results, and tables made of them."""

import json

import pytest

from benchmarks import records

KEY = ("map", "n", "device")


def results(run, *rows):
    return {**records.new("maps", {"date": run}), "rows": [{"run": 0, "device": "cpu", **row} for row in rows]}


def test_a_file_grows_by_parts_and_rows_are_replaced(tmp_path):
    path = tmp_path / "maps.json"
    records.write(str(path), results("monday", {"map": "a", "n": 8, "ms": 1.0}, {"map": "b", "n": 8, "ms": 2.0}), KEY)
    records.write(str(path), results("tuesday", {"map": "b", "n": 8, "ms": 3.0}, {"map": "b", "n": 16, "ms": 4.0}), KEY)
    read = records.read(path)
    assert [(row["map"], row["n"], row["ms"], read["runs"][row["run"]]["date"]) for row in read["rows"]] == [
        ("a", 8, 1.0, "monday"),
        ("b", 8, 3.0, "tuesday"),
        ("b", 16, 4.0, "tuesday"),
    ]
    records.write(str(path), results("friday", {"map": "a", "n": 8, "ms": 5.0}), KEY)
    assert [run["date"] for run in records.read(path)["runs"]] == ["friday", "tuesday"]


def test_what_json_does_not_know_becomes_null(tmp_path):
    path = tmp_path / "maps.json"
    records.write(str(path), results("monday", {"map": "a", "n": 8, "ms": float("nan"), "high": [float("inf")]}), KEY)
    assert json.loads(path.read_text())["rows"][0]["ms"] is None
    assert json.loads(path.read_text())["rows"][0]["high"] == [None]


@pytest.mark.parametrize("content", ["", "[1]", '{"rows": []}', "\x00"])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a file of results") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


def test_results_of_another_benchmark_are_refused():
    with pytest.raises(ValueError, match="holds results of step, not of maps"):
        records.merged(records.new("step", {}), records.new("maps", {}), KEY)


def test_tables_of_rows_that_share_a_title():
    rows = [
        {"map": "cayley", "n": 8, "ms": 12.345, "ms_low": 1234.5, "ms_high": 0.012345, "samples": 9},
        {"map": "slow", "n": 8, "ms": 27000.0, "samples": 1, "note": "out of memory"},
        {"map": "cayley", "n": 9},
    ]
    text = records.tables(
        rows, lambda row: f"n = {row['n']}", lambda row: {"map": row["map"], "ms": records.times(row)}
    )
    assert text == (
        "n = 8\n\n| map | ms |\n| --- | ---: |\n| cayley | 12.3 (1,234..0.0123) |\n| slow | 27,000 (once) |\n\n"
        "- slow: out of memory\n\n"
        "n = 9\n\n| map | ms |\n| --- | ---: |\n| cayley | - |\n"
    )


def test_footnotes_say_what_rows_depend_on():
    found = records.footnotes({"runs": [{"command": "x", "cores": 2, "torch": None}], "rows": [{"run": 0}, {"run": 0}]})
    assert found == "- 2 rows: `x`; cores 2.\n"
