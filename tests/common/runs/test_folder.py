"""Logs and figures: whole lines, whatever happens to the disk."""

import errno
import json
import os
import re
import sys

import pytest

from common import files
from common.files import METRICS
from common.runs.folder import Elsewhere, RunFolder, check_unused, holds_run, last_measured
from tests.full_disk import full_disk


def lines(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize("damage", ["rubbish\n", "\0" * 300])
def test_metrics_that_cannot_be_read_are_kept_aside(tmp_path, damage, capsys):
    whole = '{"step": 0, "split": "train"}\n' + damage
    (tmp_path / "metrics.jsonl").write_text(whole)
    RunFolder(str(tmp_path), first=3)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 0, "split": "train"}\n'
    assert (tmp_path / "metrics.jsonl.damaged").read_text() == whole
    said = "1 lines of metrics.jsonl cannot be read: the file as it was is metrics.jsonl.damaged\n"
    assert capsys.readouterr().out == said


def test_figures_go_on_without_doubled_missing_or_torn_lines(tmp_path):
    folder = RunFolder(str(tmp_path))
    for step in range(5):
        folder.measure(step=step, split="train", loss=float("nan"))
    with open(tmp_path / METRICS, "a") as file:
        file.write('not json\n[]\n{"step": 2}\n' + "[" * 10**5 + '\n{"step": Infinity, "split": "train"}\n')
        file.write('{"step": 3, "spl')  # torn by a kill
    again = RunFolder(str(tmp_path), first=3)
    assert again.measured_before(2, "train") and not again.measured_before(3, "train")
    again.measure(step=3, split="train", loss=0.5)
    figures = [json.loads(line) for line in lines(tmp_path / METRICS)]
    assert [figure["step"] for figure in figures] == [0, 1, 2, 3]
    assert figures[0]["loss"] is None and holds_run(str(tmp_path))


def test_the_last_figures_up_to_a_step(tmp_path):
    folder = RunFolder(str(tmp_path))
    for step, figures in enumerate([{"a": 0.5, "b": float("nan")}, 3, {"a": 0.25}]):
        folder.measure(step=step, split="train", rotated=figures)
    with open(tmp_path / METRICS, "a") as file:
        file.write("not json\n[]\n" + '{"step": 1, "split": "test", "error": 1.0}\n')
    found = [last_measured(str(tmp_path), "rotated", step) for step in (-1, 0, 1, 2)]
    assert found == [{}, {"a": 0.5}, {"a": 0.5}, {"a": 0.25}]
    assert last_measured(str(tmp_path / "nowhere"), "rotated", 2) == {}


def test_a_disk_that_is_full_for_a_while_loses_no_line_and_raises_nothing(tmp_path, capsys):
    """It cuts a line in two."""
    file = files.Appended(str(tmp_path / "log.txt"))
    file.add("a" * 50)
    with full_disk(70):
        file.add("b" * 50)
        file.add("c" * 50)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "log.txt: File too large; training goes on" in err
    assert lines(tmp_path / "log.txt") == ["a" * 50]
    file.add("d")
    assert lines(tmp_path / "log.txt") == ["a" * 50, "b" * 50, "c" * 50, "d"]
    file.sync()


def test_a_folder_that_is_gone_for_a_while_loses_no_line(tmp_path, capsys):
    file = files.Appended(str(tmp_path / "run" / "log.txt"))
    file.add("first")
    file.sync()
    assert "No such file or directory" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    file.add("second")
    assert lines(tmp_path / "run" / "log.txt") == ["first", "second"]


def test_a_small_file_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    folder = RunFolder(str(tmp_path))
    folder.write("flags.txt", "old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError):
        folder.write("flags.txt", "new")
    assert (tmp_path / "flags.txt").read_text() == "old" and not (tmp_path / "flags.txt.tmp").exists()


def fail_with(number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_folder_that_cannot_be_synced_is_passed_over_and_a_file_named(number, tmp_path, monkeypatch):
    """As on CIFS, FUSE and WSL."""
    path = tmp_path / "file"
    path.write_text("x")
    monkeypatch.setattr(files.os, "fsync", fail_with(number))
    files.sync(str(tmp_path))
    with pytest.raises(OSError, match=re.escape(f"'{path}'")):
        files.sync(str(path))


def test_a_disk_that_fails_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", fail_with(errno.EIO))
    with pytest.raises(OSError, match=re.escape(f"'{tmp_path}'")):
        files.sync(str(tmp_path))


HARMLESS = ["run.lock", "lost+found/", "log.txt", "start.json", "saving-abcd1234/", ".nfs0001", ".DS_Store"]
OTHERS = [".bashrc", "notes.txt", "train.py", "data/"]


@pytest.mark.parametrize("names", [[], HARMLESS, ["flags.txt", *OTHERS], ["model.ckpt-7.index", *OTHERS]])
def test_a_run_may_begin_where_there_is_nothing_or_a_run(names, tmp_path):
    make(tmp_path, names)
    check_unused(str(tmp_path))
    check_unused(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", OTHERS)
def test_no_run_begins_in_a_folder_of_other_things(name, tmp_path):
    make(tmp_path, [*HARMLESS, name])
    message = f"--train_path={tmp_path} is there, holds {name.strip('/')} and is no run folder"
    with pytest.raises(ValueError, match=message) as error:
        check_unused(str(tmp_path))
    assert "\n" not in str(error.value)


def test_the_file_that_takes_the_output_may_lie_there(tmp_path, monkeypatch):
    with open(tmp_path / "slurm-1.out", "w") as file:
        monkeypatch.setattr(sys, "__stdout__", file)
        check_unused(str(tmp_path))
        monkeypatch.setattr(sys, "__stdout__", None)
        with pytest.raises(ValueError, match="holds slurm-1.out"):
            check_unused(str(tmp_path))


def make(folder, names):
    for name in names:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("x")


def test_a_process_without_a_folder_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    elsewhere = Elsewhere("worker 0 (a:1)")
    elsewhere.say("x")
    elsewhere.note("x")
    elsewhere.add("nonfinite.jsonl", {"step": 1})
    assert not elsewhere.kept and elsewhere.file("f") == "f in the run folder of worker 0 (a:1)"
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""
