"""The commands as a user runs them, at sizes that take seconds."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import maps, profile, readme, report, step

ROOT = pathlib.Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
SMALL_STEP = ["--batch_size=4", "--width=4", "--test_images=4", "--repeats=2", "--seconds=0.1"]


def command(name, *words):
    words = [sys.executable, "-m", f"benchmarks.{name}", *words]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)
    return done.returncode, done.stdout, done.stderr


def files(folder):
    return [f"--json={folder / 'x.json'}", f"--png={folder / 'x.png'}"], folder / "x.json", folder / "x.png"


def test_maps(tmp_path):
    pytest.importorskip("matplotlib")
    words, results, plot = files(tmp_path)
    chosen = "--maps=cayley,lowdin:svd,tf.linalg.qr,unrolled"
    status, out, err = command("maps", "--sizes=8", "--columns=4,n", chosen, "--repeats=2", *words)
    assert (status, err) == (0, "n = 8, m = 4: 6 maps\nn = 8, m = 8: 6 maps\n")
    rows = report.read(results)["rows"]
    names = ["product", "cayley", "lowdin:svd", "tf.linalg.qr", "unrolled.gram_schmidt", "unrolled.householder"]
    assert [(row["map"], row["m"]) for row in rows] == [(name, m) for m in (4, 8) for name in names]
    assert all(row["both_ms"] > 0 and row["nodes"] > 0 and row["products"] > 0 for row in rows)
    assert all(row["orthogonality"] < 1e-3 and row["gradient_error"] < 1e-2 for row in rows[7:])
    assert maps.tables(rows) in out and "not measured on one" in out
    assert plot.read_bytes().startswith(PNG)


def test_step(tmp_path):
    pytest.importorskip("matplotlib")
    words, results, plot = files(tmp_path)
    status, out, err = command("step", "--networks=cnn6", "--methods=opt_cp", *SMALL_STEP, *words)
    assert (status, err) == (0, "cnn6: ordinary, opt_cp\n")
    rows = report.read(results)["rows"]
    assert [row["method"] for row in rows] == ["ordinary", "opt_cp"]
    figures = ("ms", "ratio", "images_per_second", "data_share", "build_s", "first_step_s", "nodes", "evaluation_ms")
    assert all(row[name] > 0 for row in rows for name in figures)
    assert rows[0]["ratio"] == 1.0 and rows[1]["ratio"] == pytest.approx(rows[1]["ms"] / rows[0]["ms"])
    assert step.tables(rows) in out
    assert plot.read_bytes().startswith(PNG)


def test_profile(tmp_path):
    pytest.importorskip("matplotlib")
    words, results, plot = files(tmp_path)
    status, out, err = command("profile", "--networks=cnn6", "--methods=ordinary", *SMALL_STEP, *words)
    assert (status, err) == (0, "")
    (row,) = report.read(results)["rows"]
    assert row["on_gpu"] == 0 and row["on_cpu"] == row["kernels"] > 200 and row["ms"] > 0 and row["kernels_ms"] > 0
    assert profile.tables([row]) in out and "GPU columns" not in out
    assert plot.read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    "name, words, message",
    [
        ("maps", ["--sizes=x"], "--sizes=x: expected whole numbers"),
        ("maps", ["--maps=caley"], "--maps: 'caley' is unknown"),
        ("maps", ["--columns=0"], "--columns=0: expected numbers above 0 or n"),
        ("step", ["--networks=lenet"], "--networks: 'lenet' is unknown"),
        ("step", ["--json=/nowhere/x.json"], "--json=/nowhere/x.json: there is no folder /nowhere; make it first"),
    ],
)
def test_errors_in_one_line(name, words, message):
    status, out, err = command(name, *words)
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1


def test_a_gpu_that_is_not_there_is_an_error_in_one_line(monkeypatch):
    from common.compat import tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is one")
    status, out, err = command("step", "--device=gpu", "--networks=cnn6")
    assert (status, out) == (1, "")
    assert err.startswith("error: --device=gpu: TensorFlow finds no GPU here") and err.count("\n") == 1


def test_the_readme_is_filled_from_the_results(tmp_path):
    text = "a\n<!-- results of maps -->\nold\n<!-- end -->\nb <!-- results of step -->\n<!-- end -->"
    row = {"map": "cayley", "n": 8, "m": 4, "device": "cpu", "run": 0, "both_ms": 2.0, "both_turns": 1}
    (tmp_path / "maps.json").write_text(json.dumps({"benchmark": "maps", "runs": [{"cores": 2}], "rows": [row]}))
    filled = readme.filled(text, tmp_path)
    assert "| cayley | - | 2.00 (once) |" in filled and "old" not in filled and "cores 2" in filled
    assert "Not measured yet." in filled and filled.startswith("a\n<!-- results of maps -->\n")
    assert readme.filled(filled, tmp_path) == filled


def test_the_readme_shows_the_results_that_are_here():
    text = (readme.FOLDER / "README.md").read_text(encoding="utf-8")
    assert readme.filled(text, readme.FOLDER / "results") == text
