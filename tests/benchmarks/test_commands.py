"""The commands as a user runs them, at sizes that take seconds; one process of each that can do without."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import command, maps, profile, readme, records, step
from benchmarks.processes import Failed

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL_STEP = ["--networks=cnn6", "--batch_size=4", "--width=4", "--test_images=4", "--repeats=2", "--seconds=0.1"]


def run(name, *words):
    words = [sys.executable, "-m", f"benchmarks.{name}", *words]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout, done.stderr


def test_maps(tmp_path):
    path = tmp_path / "x.json"
    chosen = "--maps=cayley,lowdin:svd,tf.linalg.qr"
    status, out, err = run("maps", "--sizes=8", "--columns=4", chosen, "--repeats=2", f"--json={path}")
    assert (status, err) == (0, "n = 8, m = 4: 4 maps\n")
    rows = records.read(path)["rows"]
    names = ["product", "cayley", "lowdin:svd", "tf.linalg.qr"]
    assert [(row["map"], row["n"]) for row in rows] == [(name, 8) for name in names]
    assert all(row["both_ms"] > 0 and row["nodes"] > 0 and row["products"] > 0 for row in rows)
    ours = [row for row in rows if row["map"] != "product"]
    assert all(row["orthogonality"] < 1e-3 and row["gradient_error"] < 1e-2 for row in ours)
    assert maps.BENCHMARK.tables(rows) in out


@pytest.mark.slow
def test_step(tmp_path):
    path = tmp_path / "x.json"
    status, out, err = run("step", "--methods=opt_cp", *SMALL_STEP, f"--json={path}")
    assert (status, err) == (0, "cnn6: ordinary, opt_cp\n")
    rows = records.read(path)["rows"]
    assert [row["method"] for row in rows] == ["ordinary", "opt_cp"]
    wanted = ("ms", "ms_ratio", "images_per_second", "data_share", "build_s", "first_step_s", "nodes", "evaluation_ms")
    assert all(row[name] > 0 for row in rows for name in wanted)
    assert rows[0]["ms_ratio"] == 1.0 and rows[1]["ms_ratio"] == pytest.approx(rows[1]["ms"] / rows[0]["ms"])
    assert step.BENCHMARK.tables(rows) in out


@pytest.mark.slow
def test_bits(tmp_path):
    path = tmp_path / "x.json"
    status, _, err = run("bits", "--methods=opt_cp", *SMALL_STEP, "--updates=4", f"--json={path}")
    assert (status, err) == (0, "")
    rows = records.read(path)["rows"]
    assert [row["method"] for row in rows] == ["ordinary", "opt_cp"]
    assert all(row["variables"] > 40 and row["again"] == row["resumed"] == 0 for row in rows)


@pytest.mark.slow
def test_step_against_another_checkout(tmp_path):
    """The other checkout is this one by another name; its numbers are those of a process of its own."""
    other = tmp_path / "other"
    other.symlink_to(ROOT)
    path = tmp_path / "x.json"
    status, out, err = run("step", "--methods=ordinary", *SMALL_STEP, f"--against={other}", f"--json={path}")
    assert (status, err) == (0, "cnn6: ordinary\n")
    (row,) = records.read(path)["rows"]
    assert row["nodes"] == row["other_nodes"] > 500
    assert all(row[name] > 0 and row[f"other_{name}"] > 0 for name in ("ms", "build_s", "first_step_s", "tensors_mib"))
    assert row["other_ratio"] == pytest.approx(row["ms"] / row["other_ms"])
    assert "| here / there |" in out


@pytest.mark.slow
def test_profile(tmp_path):
    path = tmp_path / "x.json"
    status, out, err = run("profile", "--methods=ordinary", *SMALL_STEP, f"--json={path}")
    assert (status, err) == (0, "")
    (row,) = records.read(path)["rows"]
    assert row["on_gpu"] == 0 and row["on_cpu"] == row["kernels"] > 100 and row["ms"] > 0 and row["kernels_ms"] > 0
    assert profile.BENCHMARK.tables([row]) in out


@pytest.mark.parametrize(
    "benchmark, flags, message",
    [
        (maps, {"maps": "caley"}, "--maps: 'caley' is unknown"),
        (maps, {"columns": 0}, "--columns=0: expected at least 1"),
        (step, {"networks": "lenet"}, "--networks: 'lenet' is unknown"),
        (step, {"json": "/nowhere/x.json"}, "--json=/nowhere/x.json: there is no folder /nowhere; make it first"),
        (
            step,
            {"networks": "cnn6", "methods": "opt_cp", "against": "/nowhere"},
            "--against=/nowhere: expected the root",
        ),
        (step, {"device": "gpu"}, "--device=gpu: TensorFlow finds no GPU here"),
    ],
)
def test_bad_input_is_an_error(monkeypatch, benchmark, flags, message):
    def apart(function, *arguments):
        return function(*arguments) if flags.get("device") else "CPU"

    monkeypatch.setattr(command, "apart", apart)
    monkeypatch.setattr(command.devices.tf.config.experimental, "list_physical_devices", lambda kind: [])
    with pytest.raises(ValueError, match=message):
        command._run(benchmark.BENCHMARK, [], benchmark.Settings(**flags))


def test_a_worker_that_ends_is_an_error(monkeypatch):
    def apart(*arguments):
        raise Failed("the process ended")

    monkeypatch.setattr(command, "apart", apart)
    with pytest.raises(ValueError, match="the process ended"):
        command._run(step.BENCHMARK, [], step.Settings())


def test_a_file_is_filled_from_the_results(tmp_path):
    names = ("maps", "step", "a-table")
    text = "a\n" + "".join(f"<!-- results of {name} -->\nold\n<!-- end -->\n" for name in names)
    row = {"map": "cayley", "n": 8, "m": 4, "device": "cpu", "run": 0, "both_ms": 2.0, "both_samples": 1}
    (tmp_path / "maps.json").write_text(json.dumps({"benchmark": "maps", "runs": [{"cores": 2}], "rows": [row]}))
    (tmp_path / "a-table.md").write_text("| method |\n")
    (tmp_path / "a-table.png").touch()
    filled = readme.filled(text, tmp_path, "results")
    assert "| cayley | - | 2.00 (once) |" in filled and "old" not in filled and "cores 2" in filled
    assert "<!-- results of step -->\n\nNot run yet.\n\n<!-- end -->" in filled and filled.startswith("a\n<!-- results")
    assert "\n![a-table](results/a-table.png)\n\n| method |\n\n<!-- end -->" in filled
    assert readme.filled(filled, tmp_path, "results") == filled



@pytest.mark.parametrize("name", readme.FILES)
def test_the_readmes_show_the_results_that_are_here(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert readme.filled(text, ROOT / "benchmarks" / "results", readme.FILES[name]) == text
