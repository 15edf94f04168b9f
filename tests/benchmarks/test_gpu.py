"""A loan of a few minutes: what is measured first, what is passed over, and what is left when the time is over."""

import dataclasses
import importlib.util
import json
import subprocess

import pytest

from benchmarks import bits, gpu, maps, profile, records, step
from common.command import CommandLine


def rows(folder, name, *found):
    (folder / f"{name}.json").write_text(json.dumps({"benchmark": name, "runs": [{}], "rows": list(found)}))


def test_what_is_there_is_passed_over(tmp_path):
    row = {"network": "cnn6", "precision": "float32", "xla": False, "device": "gpu"}
    on_cpu, failed = {**row, "precision": "tf32", "device": "cpu"}, {**row, "xla": True, "note": "no memory"}
    rows(tmp_path, "step", row, on_cpu, failed)
    rows(tmp_path, "maps", {"n": 576, "device": "gpu"})
    todo = gpu.missing(tmp_path, "gpu")
    gone = [part for part in gpu.parts() if part not in todo]
    assert [(part.name, part.fields[0]) for part in gone] == [("step", ("network", "cnn6")), ("maps", ("n", 576))]
    assert todo[0].words[:2] == ("--networks=resnet-28-10", "--precision=float32")


def test_rows_of_pytorch_are_parts_of_their_own(tmp_path):
    """One that was ended before its last row is not there yet."""
    against = {"network": "cnn6", "precision": "float32", "xla": False, "device": "gpu", "against": "torch"}
    rows(tmp_path, "step", {**against, "method": "ordinary"}, {**against, "method": "opt_hr", "precision": "tf32"})
    gone = [part for part in gpu.parts() if part not in gpu.missing(tmp_path, "gpu")]
    assert [part.words[1:] for part in gone] == [("--precision=tf32", "--networks=cnn6", "--against=torch")]
    assert gone[0].words[0] == "--methods=opt_cp,opt_hr"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_part_of_pytorch_runs_on_a_cpu(tmp_path):
    part = next(part for part in gpu.parts() if ("against", "torch") in part.fields)
    small = ("--methods=opt_cp", "--batch_size=4", "--width=4", "--repeats=2", "--seconds=0.1")
    part = dataclasses.replace(part, words=part.words[1:] + small, fields=(("method", "opt_cp"), *part.fields[1:]))
    settings = gpu.Settings(minutes=10.0, results=str(tmp_path), device="cpu")
    assert gpu.measure([part], settings) == []
    assert part.is_in(records.read(tmp_path / "step.json")["rows"])


def test_parts_run_until_the_time_is_over(tmp_path, capsys):
    now, began = [0.0], []

    def run(words, timeout, stdout):
        began.append((words[2], timeout))
        if len(began) == 3:
            now[0] += timeout
            raise subprocess.TimeoutExpired(words, timeout)
        now[0] += 50.0
        return subprocess.CompletedProcess(words, 0)

    settings = gpu.Settings(minutes=2.0, results=str(tmp_path))
    todo = gpu.parts()
    left = gpu.measure(todo, settings, run, lambda: now[0])
    assert began == [("benchmarks.step", 120.0), ("benchmarks.step", 70.0), ("benchmarks.step", 20.0)]
    assert len(left) == len(todo) - 2
    assert "out of time, 0 s left" in capsys.readouterr().err


def test_every_part_is_a_command_that_the_benchmarks_know():
    benchmarks = {module.BENCHMARK.name: module for module in (maps, profile, step, bits)}
    for part in gpu.parts():
        CommandLine(benchmarks[part.name].Settings, list(part.words)).settings()
        assert {name for name, _ in part.fields} <= set(benchmarks[part.name].BENCHMARK.key)
