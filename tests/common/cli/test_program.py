"""The command line: real processes for what only they can show, `run` and its errors for the rest."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import termios
import threading

import pytest

from common.cli import program, start
from common.cli.program import run
from common.data.cifar import CIFAR10
from common.training import trainer
from opt_gs.train import method
from opt_ls.train import method as opt_ls
from opt_ogd.train import method as opt_ogd
from tests.common.data.test_cifar import write
from tests.runs import entries, metrics

METHOD = method()
ROOT = pathlib.Path(__file__).resolve().parents[3]
SMALL = METHOD.settings_class(data="synthetic", widths=(4, 4, 4, 4), batch_size=8, max_steps=4)
ORDINARY = {"rotation": "none", "base_lr": 0.01}  # quick to build


def settings(**options):
    return dataclasses.replace(SMALL, **options)


@pytest.fixture
def command():
    """`command(folder, words...)` starts a train.py; what still runs in the end is killed."""
    processes = []

    def begin(folder, *words, **options):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        arguments = [sys.executable, "train.py", "--data=synthetic", "--rotation=none", "--widths=4,4,4,4", *words]
        processes.append(subprocess.Popen(arguments, cwd=ROOT / folder, **{**pipes, **options}))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def called(words):
    """Does in this process what a train.py does with a command line; returns the exit status."""
    with pytest.raises(SystemExit) as ended:
        start.main(METHOD.settings_class, method, words)
    return ended.value.code


def test_a_run_writes_what_reproduces_it(tmp_path, command, capsys):
    process = command("opt_gs", "--max_steps=4", "--report_freq=1", "--seed=3", f"--train_dir={tmp_path}")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("opt_gs-none_cnn6_synthetic_")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"log.txt", "flags.txt", "metrics.jsonl", "checkpoint", "model.ckpt-3.index"}
    log = (folder / "log.txt").read_text()
    assert log in out and "\r" not in out  # plain lines, as the output is no terminal
    for words in ("data set synthetic: 512 training and 256 test images", "CNN-6", "trainable of", "nodes, built in"):
        assert words in log
    assert called([f"--flagfile={folder / 'flags.txt'}", f"--train_path={tmp_path / 'again'}"]) == 0
    assert capsys.readouterr().err == ""
    assert metrics(folder) == metrics(tmp_path / "again") and len(metrics(folder)) == 5
    required = {"train": {"fit", "total_loss", "error", "lr"}, "test": {"cross_entropy", "error", "error_5", "lr"}}
    for line in metrics(folder):
        assert set(line) >= required[line["split"]] and "loss" not in line


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_leaves_with_the_customary_status(tmp_path, number, command):
    process = command("opt_hr", "--max_steps=100000", "--report_freq=1", f"--train_path={tmp_path}")
    while "step 2," not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + number and "Traceback" not in err
    last = max(int(path.name.split("-")[1].split(".")[0]) for path in tmp_path.glob("model.ckpt-*.index"))
    assert f"saved {tmp_path}/model.ckpt-{last}" in out
    assert f"interrupted by {number.name}; go on with --resume --train_path={tmp_path}" in out


def test_bad_input_is_one_line_and_status_1(tmp_path, capsys):
    assert called(["--data=cifar100", f"--data_dir={tmp_path / 'nowhere'}"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and "nowhere" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 513}, "^--batch_size=513: expected 1 .. 512, the number of training images$"),
        ({"task": "test"}, "--task=test needs --load"),
        ({"load": "/nowhere/model.ckpt-3"}, "model.ckpt-3.index is not a file"),
        ({"train_path": "/proc/none/run"}, "cannot write to the run folder /proc/none/run"),
        ({"data": "cifar10", "data_dir": "/nowhere"}, "/nowhere"),
        ({"device": "gpu"}, "--device=gpu: TensorFlow finds no GPU here"),
    ],
)
def test_errors_name_the_value(options, message, tmp_path, capsys):
    with pytest.raises(ValueError, match=message) as error:
        run(METHOD, settings(**{"train_path": str(tmp_path), **options}))
    assert "\n" not in str(error.value) and "data set" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_what_another_method_has_trained_is_refused_before_flags_are_looked_at(tmp_path):
    """opt_ogd has no --generator_start, which comes from the flags.txt. --task=test loads what --load names."""
    run_of = {name: tmp_path / name for name in ("opt_gs", "opt_ogd")}
    for name, folder in run_of.items():
        folder.mkdir()
        (folder / "flags.txt").write_text(f"# {name}\n--data=synthetic\n")
        (folder / "model.ckpt-1.index").touch()
    load, train_path = str(run_of["opt_gs"]), str(run_of["opt_ogd"])
    for options in (
        {"task": "test", "load": load}, {"task": "test", "load": load, "resume": True, "train_path": train_path},
        {"resume": True, "train_path": load}, {"load": load, "resume": True, "train_path": str(tmp_path / "new")},
    ):  # fmt: skip
        made = opt_ogd().settings_class(data="synthetic", generator_start="unit", **options)
        with pytest.raises(ValueError, match=f"^the run in {load} was trained by opt_gs, not by opt_ogd; use the"):
            run(opt_ogd(), made)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run(METHOD, settings(train_path=str(tmp_path / "run")))
    with pytest.raises(ValueError, match=r"another network .*conv1_0/fix is \[27, 4\] there and \[27, 8\] here"):
        run(METHOD, settings(task="test", widths=(8, 8, 8, 8), load=str(tmp_path / "run")))
    with pytest.raises(ValueError, match="^--load=.*: 4 updates are done there; raise --max_steps"):
        run(METHOD, settings(load=str(tmp_path / "run"), train_path=str(tmp_path / "again")))
    assert not (tmp_path / "again").exists()
    with pytest.raises(ValueError, match="trained by opt_gs, not by opt_ls"):
        run(opt_ls(), settings(task="test", load=str(tmp_path / "run")))
    with pytest.raises(ValueError, match="trained by opt_gs, not by opt_gs-free"):
        run(METHOD, settings(task="test", rotation="free", load=str(tmp_path / "run")))
    with pytest.raises(ValueError, match="holds a run already; go on with --resume"):
        run(METHOD, settings(train_path=str(tmp_path / "run")))


def test_going_on_in_the_same_folder_continues_its_metrics(tmp_path):
    path = tmp_path / "run"
    options = {**ORDINARY, "report_freq": 1, "save_freq": 2, "train_path": str(path), "max_to_keep": 2}
    run(METHOD, settings(**options))
    whole = entries(path / "metrics.jsonl")
    run(METHOD, settings(**options, load=str(path / "model.ckpt-1")))
    again = entries(path / "metrics.jsonl")
    assert [(line["step"], line["split"]) for line in again] == [(line["step"], line["split"]) for line in whole]
    moved = path.rename(tmp_path / "moved")
    assert {item.name for item in moved.glob("*.index")} == {"model.ckpt-1.index", "model.ckpt-3.index"}
    assert run(METHOD, settings(**ORDINARY, task="test", load=str(moved))) == 0


@pytest.mark.slow
def test_the_log_says_rates_and_how_they_change_where_a_run_goes_on(tmp_path):
    path = tmp_path / "run"
    options = {"train_path": str(path), "schedule": "cosine", "base_lr": 0.1}
    run(METHOD, settings(**options))
    first = "learning rates of the first, the middle and the last update: lr 0.1, 0.05, 0.0146447\n"
    assert first in (path / "log.txt").read_text() and "CHANGED" not in (path / "log.txt").read_text()
    run(METHOD, settings(**options, resume=True, max_steps=6))
    log = (path / "log.txt").read_text()
    assert "max_steps: 4 -> 6" in log and "LEARNING RATES CHANGED at update 4: lr 0 before, 0.025 now\n" in log
    assert "last update: lr 0.1, 0.05, 0.00669873\n" in log


def test_a_map_that_fails_says_which_and_where(tmp_path, capsys):  # the report after the first update runs the maps
    assert program.execute(METHOD, settings(base_lr=3e38, train_path=str(tmp_path / "run"))) == 1
    err = capsys.readouterr().err
    named = r"error: step 0: gram_schmidt: the generator of conv\d_\d is not finite, the variable conv1_0"
    assert re.match(named, err)  # of all that fail the one is named that fails first
    assert "(lr = 3e+38)" in err and err.count("\n") == 1


def test_training_on_cifar_files_of_any_size(tmp_path, capsys):
    write(tmp_path, CIFAR10, 20)
    options = {**ORDINARY, "data": "cifar10", "data_dir": str(tmp_path), "train_path": str(tmp_path / "run")}
    assert run(METHOD, settings(**options)) == 0
    assert "data set cifar10: 110 training and 25 test images" in capsys.readouterr().out


def test_see_lists_every_trainable_variable(capsys):
    assert run(METHOD, settings(task="see", verbose=False)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "generator    conv1_0/rotation [27, 27] 729" in lines
    assert "weight       score/filter [1, 1, 4, 10] 40" in lines
    freedom = 351 + 5 * (36 * 35 // 2) + 64 * 63 // 2 + 40
    assert lines[-1].endswith(f"degrees of freedom without gamma and beta: {freedom}")


@pytest.mark.slow
def test_see_has_how_far_the_last_reported_update_rotated_each_layer(tmp_path, capsys):
    path = str(tmp_path / "run")
    assert run(METHOD, settings(train_path=path, max_steps=1)) == 0
    assert "change of Q W0 = " in capsys.readouterr().out
    measured = entries(tmp_path / "run" / "metrics.jsonl")[0]["rotated"]
    assert run(METHOD, settings(task="see", load=path, verbose=False)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("change of")]
    assert lines == [f"change of Q W0 by an update: {scope} {value:.1e}" for scope, value in measured.items()]
    assert len(lines) == 7


def test_auto_says_loudly_what_it_trains_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {**ORDINARY, "data": "auto", "batch_size": 32, "max_steps": 2, "train_path": str(tmp_path / "run")}
    run(METHOD, settings(**options))
    captured = capsys.readouterr()
    if "data set digits" in captured.out:  # on a machine that can download, or has the files, it is cifar100
        assert "CIFAR100, IS NOT HERE" in captured.err
        assert "--data=digits" in (tmp_path / "run" / "flags.txt").read_text()
    else:
        assert "data set cifar100" in captured.out


def test_a_long_run_says_so_after_20_steps(capsys, monkeypatch):
    from common.training import callbacks

    now = [0.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    for last, expected in ((100, True), (70, False)):
        patience = callbacks.Patience(0, last, trainer.ADVICE)
        for step in range(30):
            now[0] += 60.0  # a minute a step
            patience.after_step(step, {})
        out = capsys.readouterr().out
        assert ("--data=digits" in out and "hours" in out) == expected


def test_progress_is_a_bar_only_on_a_terminal(tmp_path, monkeypatch):
    """A pseudo-terminal for standard error shows step, fit, error, speed and time left."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    shown = []

    def read():
        with contextlib.suppress(OSError):  # the other side is closed
            while block := os.read(leader, 4096):
                shown.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with open(follower, "w") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            assert run(METHOD, settings(**ORDINARY, max_steps=30, train_path=str(tmp_path))) == 0
    finally:
        reader.join()
        os.close(leader)
    for words in (b"30/30", b"fit", b"err", b"images/s", b"step/s"):
        assert words in b"".join(shown)
