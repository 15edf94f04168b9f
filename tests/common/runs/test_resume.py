"""Going on: where a run begins, which flags may differ, signals, disks that fail, and two processes in one folder."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from common import files, flags
from common.cli import program
from common.cli.program import run
from common.cli.start import read
from common.data import synthetic
from common.flags import Resume
from common.runs import folder, lock, resume
from common.runs.saver import CheckpointManager
from common.training.callbacks import Callback
from grassmann.settings import Settings as GrassmannSettings
from opt_gs.train import method
from opt_ogd.settings import OgdSettings
from sopt_gs.settings import EpisodeSettings
from tests import runs

METHOD = method()
ROOT = pathlib.Path(__file__).resolve().parents[3]
STEERS = """base_lr rotation_lr generator_lr weight_decay max_steps episodes learnRate learnRateG learnRateDecay
    omega weightDecay biasDecay gammaDecay betaDecay nan_policy drift_bound precision loss_scale xla lr_scale
    deterministic warmup_steps sync_bn schedule bn_decay""".split()
ANY = """data_dir vali_batch_size report_freq vali_freq save_freq max_to_keep device num_gpus
    visible_devices log_device_placement tensorboard verbose k map_algorithm bn_statistics bn_batches""".split()
CALL = """task train_dir train_path load export_dir export_format fold resume worker_hosts task_index start_timeout
    collective_timeout""".split()
REFUSED = """data map depth widen_factor momentum seed model widths rotation batch_size episode_steps sample_ratio
    optimizer grassmann nesterov adam_beta2 adam_eps grad_clip keep_prob crop_size padding_size holdout
    image_size mirror data_digest fixed fresh_score fixed_inputs
    generator_start generator_optimizer""".split()
GROUPS = {Resume.STEERS: STEERS, Resume.ANY: ANY, Resume.CALL: CALL, Resume.REFUSED: REFUSED}
SMALL = METHOD.settings_class(
    data="synthetic", rotation="none", widths=(4, 4, 4, 4), batch_size=8, base_lr=0.01, max_steps=6, device="cpu"
)


def settings(path, **options):
    return dataclasses.replace(SMALL, train_path=str(path), **options)


@pytest.mark.parametrize("kind", [OgdSettings, EpisodeSettings, GrassmannSettings])
def test_what_another_value_of_each_flag_does(kind):
    names = {field.name for field in dataclasses.fields(kind)}
    for name in names:
        (group,) = [group for group, members in GROUPS.items() if name in members]
        if (kind, name) == (OgdSettings, "map_algorithm"):
            group = Resume.REFUSED  # its two algorithms keep different momenta
        assert name in kind.names(group), name


OTHER = {
    "base_lr": 0.5, "weight_decay": 0.0, "max_steps": 99, "data_dir": "/elsewhere", "vali_batch_size": 3,
    "report_freq": 3, "vali_freq": 3, "save_freq": 3, "max_to_keep": 9, "device": "auto", "num_gpus": 2,
    "visible_devices": "0", "log_device_placement": True, "tensorboard": False, "verbose": True,
    "task": "train", "train_dir": "x", "load": "y", "export_dir": "z", "export_format": "npz", "fold": True,
    "resume": True, "data": "digits", "depth": 16, "widen_factor": 2, "momentum": 0.5, "seed": 3,
    "map_algorithm": "qr", "lr_scale": "linear",
    "warmup_steps": 9, "nan_policy": "skip", "drift_bound": 0.1, "precision": "bfloat16", "loss_scale": 2.0,
    "xla": True, "deterministic": True, "sync_bn": False, "model": "cnn9", "widths": (4, 4, 4, 5), "batch_size": 9,
    "worker_hosts": "a:1,b:1", "task_index": 1, "start_timeout": 9.0, "collective_timeout": 9.0,
    "schedule": "cosine", "optimizer": "adam", "bn_decay": 0.5, "bn_statistics": "precise", "bn_batches": 7,
}  # fmt: skip


@contextlib.contextmanager
def going_on(folder, **options):
    """What `check` says of a run in a folder whose flags were SMALL's."""
    files.replace(str(folder / "flags.txt"), f"# opt_gs-none\n{flags.text(SMALL)}")
    with_options = settings(folder, **options)
    begin = resume.Start(str(folder / "model.ckpt-1"), str(folder), goes_on=True)
    yield lambda start=begin: resume.check(METHOD, with_options, start)


@pytest.mark.parametrize("name", sorted(set(OTHER) - {"task"}))
def test_a_flag_that_differs_is_named_and_refused_only_if_it_makes_another_run(name, tmp_path):
    with going_on(tmp_path, **{name: OTHER[name]}) as check:
        if name in REFUSED:
            with pytest.raises(ValueError, match=rf"cannot go on with other flags .*\b{name}: .* -> ") as error:
                check()
            assert f"--load={tmp_path}/model.ckpt-1 --train_path=NEW" in str(error.value)
            assert "\n" not in str(error.value)
            (line,) = check(resume.Start(str(tmp_path / "model.ckpt-1"), "elsewhere"))
            assert line.startswith("FLAGS CHANGED") and f"{name}: " in line
        elif name in CALL:
            assert check() == []
        else:
            (line,) = check()
            assert f"{name}: " in line and " -> " in line and "\n" not in line
            assert line.startswith("FLAGS CHANGED, TRAINING IS ANOTHER ONE" if name in STEERS else "flags changed: ")
    if name == "max_steps":
        assert "the schedule stretches" in line


def test_equal_flags_and_flags_of_an_older_program_are_no_difference(tmp_path):
    with going_on(tmp_path) as check:
        assert check() == []
        text = (tmp_path / "flags.txt").read_text()
        older = "".join(line for line in text.splitlines(True) if "save_freq" not in line and "xla" not in line)
        (tmp_path / "flags.txt").write_text(f"{older}--task=train\n--train_path=./x\n--resume=True\n--load=y\n")
        assert check() == []
        (tmp_path / "flags.txt").unlink()
        assert check() == []


def test_a_flag_that_a_run_is_older_than_has_the_value_that_it_had_then(tmp_path):
    with going_on(tmp_path) as check:
        before = (tmp_path / "flags.txt").read_text()
        assert "generator_start" not in before
        assert flags.with_earlier(SMALL, before, "synthetic").generator_start == "paper"
        later = flags.with_earlier(SMALL, f"{before}--generator_start=unit\n--bn_decay=0.5\n", "synthetic")
        assert (later.generator_start, later.bn_decay) == ("unit", 0.5)
        assert flags.with_earlier(SMALL, "", "synthetic") == SMALL
        assert flags.with_earlier(SMALL, before, "digits") == SMALL
        other = dataclasses.replace(SMALL, generator_start="0.1", bn_decay=0.0, warmup_steps=5)
        assert flags.with_earlier(other, before, "synthetic") == other
        assert check() == []
    with going_on(tmp_path, generator_start="paper") as check:
        assert check() == []
    with going_on(tmp_path, generator_start="0.1") as check:
        with pytest.raises(ValueError, match="generator_start: paper -> 0.1"):
            check()


@pytest.mark.parametrize("given, expected", [
    ({}, (60, 6, 1 - 5 / 8)), ({"max_steps": 60}, (60, 6, 1 - 5 / 8)), ({"max_steps": 200}, (200, 20, 1 - 5 / 27)),
    ({"max_steps": 200, "warmup_steps": 3, "bn_decay": 0.5}, (200, 3, 0.5)),
])  # fmt: skip
def test_another_length_has_the_warm_up_and_the_decay_of_a_run_of_that_length(tmp_path, monkeypatch, given, expected):
    """60 updates have 8 after their last drop, 200 have 27: docs/running.md has the formulas."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    dataset = synthetic.load()
    before = METHOD.resolve(dataclasses.replace(SMALL, max_steps=60), dataset)
    assert (before.warmup_steps, before.bn_decay) == (6, 1 - 5 / 8)
    (tmp_path / "flags.txt").write_text(flags.text(before))
    (tmp_path / "model.ckpt-60.index").touch()
    words = [f"--{name}={value}" for name, value in given.items()]
    line, _ = read(METHOD.settings_class, ["--resume", f"--train_path={tmp_path}", *words])
    loads = METHOD.settings_class(load=str(tmp_path), **given)  # 500 updates, if none are given, 67 after the last drop
    usual = expected if given else (None, 50, 1 - 5 / 67)
    for settings, expected in ((line.settings(), expected), (loads, usual)):
        going_on = METHOD.resolve(flags.with_earlier(settings, flags.text(before), "synthetic"), dataset)
        assert (going_on.max_steps, going_on.warmup_steps) == expected[:2]
        assert going_on.bn_decay == pytest.approx(expected[2], abs=1e-12)


def test_a_run_that_is_older_than_a_flag_keeps_its_constant_at_any_length():
    before = "--data=synthetic\n--max_steps=60\n"
    later = flags.with_earlier(dataclasses.replace(SMALL, max_steps=200), before, "synthetic")
    assert (later.warmup_steps, later.bn_decay) == (0, 0.999)


def test_the_flags_of_a_run_that_goes_on_are_those_beside_its_checkpoint(tmp_path):
    """A run that was killed before its first checkpoint starts afresh, perhaps with other flags."""
    run, other = tmp_path / "run", tmp_path / "other"
    for path in (run, other):
        path.mkdir()
        (path / "flags.txt").write_text(f"# {path.name}\n")
    begun = lambda **options: resume.begun_by(settings(run, **options))  # noqa: E731
    assert begun() is None and begun(resume=True) is None
    for load in (other, other / "model.ckpt-1"):
        assert begun(resume=True, load=str(load)) == "# other\n" == begun(load=str(load))
    (run / "model.ckpt-3.index").write_bytes(b"")
    assert begun() is None and begun(resume=True, load=str(other)) == "# run\n"


def test_flags_that_are_no_more_are_named_once_and_renamed_ones_compared(tmp_path):
    with going_on(tmp_path) as check:
        text = (tmp_path / "flags.txt").read_text()
        assert "--map_algorithm=auto\n" in text
        gone = "--shard_maps=True\n--memory_limit=2\n"
        older = text.replace("--map_algorithm=auto\n", f"--map_method=auto\n{gone}")
        (tmp_path / "flags.txt").write_text(older)
        assert check() == ["these flags are no more, and do nothing: --shard_maps, --memory_limit"]
        (tmp_path / "flags.txt").write_text(older.replace("--map_method=auto", "--map_method=qr"))
        assert check()[1:] == ["flags changed: map_algorithm: qr -> auto"]


@pytest.mark.parametrize("content", [b"", b"# Notes\n\nof another program\n", b'{"step": 0}\n', b"\xff\xfe\0\n\x80"])
def test_a_file_in_the_place_of_flags_txt_is_said(content, tmp_path):
    with going_on(tmp_path) as check:
        (tmp_path / "flags.txt").write_bytes(content)
        assert check() == [f"flags.txt beside {tmp_path}/model.ckpt-1 holds no flags: nothing is compared with them"]


def test_flags_txt_says_what_made_the_run_and_not_what_to_do_where(tmp_path):
    places = {"task": "test", "export_dir": "b", "worker_hosts": "a:1,b:1", "task_index": 1}
    text = flags.text(settings(tmp_path, resume=True, **places))
    assert not [name for name in CALL if f"--{name}=" in text]
    assert "--widths=4,4,4,4\n" in text and text == flags.text(SMALL)


def test_flags_txt_keeps_the_checkpoint_that_a_run_began_at(tmp_path):
    text = resume.text(METHOD, settings(tmp_path, load="first/model.ckpt-1"), resume.Start("first/model.ckpt-1"))
    assert text.startswith("# opt_gs-none\n") and "# began at first/model.ckpt-1\n" in text and "--load" not in text
    (tmp_path / "flags.txt").write_text(text)
    for options in ({"resume": True}, {"load": str(tmp_path)}):
        start = resume.Start(str(tmp_path / "model.ckpt-3"), str(tmp_path), goes_on=True)
        assert resume.text(METHOD, settings(tmp_path, **options), start) == text


def test_two_runs_that_start_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(folder.time, "strftime", lambda pattern: "2026-01-01_00-00-00")
    options = dataclasses.replace(SMALL, train_dir=str(tmp_path))
    with resume.in_folder(METHOD, options, resume.Start()) as first:
        with resume.in_folder(METHOD, options, resume.Start()) as second:
            assert first.folder == str(tmp_path / "opt_gs-none_cnn6_synthetic_2026-01-01_00-00-00")
            assert second.folder == f"{first.folder}_2"
            assert lock.holder(first.folder) and lock.holder(second.folder)


def test_a_folder_of_other_things_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / ".bashrc").write_text("x")
    for options in ({}, {"resume": True}):
        assert train(monkeypatch, tmp_path, **options) == 1
        err = capsys.readouterr().err
        assert f"--train_path={tmp_path} is there, holds .bashrc and is no run folder" in err and err.count("\n") == 1
    assert os.listdir(tmp_path) == [".bashrc"]


def test_resume_needs_a_folder(tmp_path):
    with pytest.raises(ValueError, match="--resume needs --train_path"):
        dataclasses.replace(SMALL, resume=True)


class At(Callback):
    """Acts once, after a step and before the reports, validations and checkpoints of that step."""

    def __init__(self, step, act):
        self._step, self._act = step, act

    def after_step(self, step, values):
        if step == self._step:
            self._act()


def train(monkeypatch, path, at=None, act=None, **options):
    """Runs as the command line does, with something happening at a step; returns the exit status."""
    options = {"report_freq": 1, "vali_freq": 3, "save_freq": 2, **options}
    with monkeypatch.context() as patch:
        patch.setattr(type(METHOD), "callbacks", lambda *arguments: [At(at, act)] if act else [])
        return program.execute(METHOD, settings(path, **options))


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def assert_equal_runs(folder, other, dropped=()):
    """Equal variables and figures, but for those of validations that a signal has `dropped`."""
    runs.assert_equal(*(runs.contents(path / "model.ckpt-5") for path in (other, folder)))
    by_place = lambda line: (line["step"], line["split"] == "test")  # noqa: E731
    kept = [line for line in runs.metrics(folder) if line["split"] == "train" or line["step"] not in dropped]
    assert sorted(runs.metrics(other), key=by_place) == sorted(kept, key=by_place)


def test_stopped_in_a_validation_damaged_and_resumed_it_ends_as_if_nothing_had_been(tmp_path, monkeypatch, capsys):
    """A signal before the validation of step 2, which is dropped, then a damaged checkpoint, then the end."""
    whole, path = tmp_path / "whole", tmp_path / "run"
    assert train(monkeypatch, whole) == 0
    assert train(monkeypatch, path, resume=True, at=2, act=lambda: signal.raise_signal(signal.SIGUSR1)) == 128 + 10
    out = capsys.readouterr().out
    assert "there is no checkpoint in" in out and "the run starts afresh" in out
    assert "step 2, validation dropped" in out and f"step 2, saved {path}/model.ckpt-2" in out
    assert f"interrupted by SIGUSR1; go on with --resume --train_path={path}" in out
    assert ("step", 2, "test") not in [("step", line["step"], line["split"]) for line in runs.metrics(path)]
    assert train(monkeypatch, path, resume=True, at=4, act=terminate) == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert f"goes on from {path}/model.ckpt-2, with step 3" in out and "validation: " not in out
    data = path / "model.ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-9])
    assert train(monkeypatch, path, resume=True) == 0
    out = capsys.readouterr().out
    assert f"{path}/model.ckpt-4 is damaged (model.ckpt-4.data-00000-of-00001 has not" in out
    log = (path / "log.txt").read_text()
    assert f"goes on from {path}/model.ckpt-3, with step 4" in log and "model.ckpt-4 is damaged" in log
    assert_equal_runs(whole, path, dropped=[2])
    assert train(monkeypatch, path, resume=True) == 0
    out = capsys.readouterr().out
    assert "6 updates are done already" in out and "validation: " not in out
    assert_equal_runs(whole, path, dropped=[2])
    assert train(monkeypatch, path) == 1
    assert "holds a run already; go on with --resume" in capsys.readouterr().err
    for checkpoint in path.glob("model.ckpt-*.index"):
        checkpoint.write_bytes(b"")
    before = sorted((path.name, path.stat().st_size) for path in path.iterdir())
    assert train(monkeypatch, path, resume=True) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: none of the checkpoints in ") and err.count("\n") == 1
    assert sorted((path.name, path.stat().st_size) for path in path.iterdir()) == before
    for file in [*path.glob("model.ckpt-*"), path / "checkpoint"]:
        file.unlink()
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    assert train(monkeypatch, path, resume=True) == 1
    assert capsys.readouterr().err.startswith(f"error: the checkpoints of the run in {path} are gone, and starting")
    assert {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()} == before


def test_a_run_stopped_during_its_last_validation_does_it_when_it_goes_on(tmp_path, monkeypatch, capsys):
    assert train(monkeypatch, tmp_path / "whole", vali_freq=99) == 0
    path = tmp_path / "run"
    assert train(monkeypatch, path, resume=True, vali_freq=99, at=5, act=terminate) == 128 + signal.SIGTERM
    assert "step 5, validation dropped" in capsys.readouterr().out
    assert [line for line in runs.metrics(path) if line["split"] == "test"] == []
    for _ in range(2):
        assert train(monkeypatch, path, resume=True, vali_freq=99) == 0
        assert_equal_runs(tmp_path / "whole", path)


@pytest.mark.slow
def test_a_run_of_before_bn_decay_goes_on_with_the_papers_constant(tmp_path, monkeypatch, capsys):
    """flags.txt of such a run lacks the flag; once it has gone on, flags.txt has it. A new run is short: 0."""
    whole, path = tmp_path / "whole", tmp_path / "run"
    assert train(monkeypatch, whole, bn_decay=0.999) == 0
    assert train(monkeypatch, path, bn_decay=0.999, at=2, act=terminate) == 128 + signal.SIGTERM
    recorded = (path / "flags.txt").read_text()
    (path / "flags.txt").write_text(recorded.replace("--bn_decay=0.999\n", ""))
    stops = {"at": 4, "act": terminate}
    for status, options in ((128 + signal.SIGTERM, stops), (0, {})):
        assert train(monkeypatch, path, resume=True, bn_decay=None, **options) == status
        assert (path / "flags.txt").read_text() == recorded and "CHANGED" not in capsys.readouterr().out
    assert_equal_runs(whole, path, dropped=[2])
    assert train(monkeypatch, tmp_path / "new", bn_decay=None, max_steps=1) == 0
    assert "--bn_decay=0.0\n" in (tmp_path / "new" / "flags.txt").read_text()


def test_a_save_that_fails_is_reported_and_tried_again(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    save = CheckpointManager._write
    fails = {1, 3}

    def some(self, session, work, name):
        return (fail if int(name.rpartition("-")[2]) in fails else save)(*(self, session, work, name))

    monkeypatch.setattr(CheckpointManager, "_write", some)
    assert train(monkeypatch, tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "step 3, NOT SAVED: [Errno 28] No space left on device; older checkpoints stay" in out
    assert "2 of the checkpoints on the way could not be written; the last one is there" in out
    fails.update(range(99))
    fails.remove(1)
    assert train(monkeypatch, tmp_path / "b") == 1
    err = capsys.readouterr().err
    assert err.startswith("error: the last checkpoint could not be written ([Errno 28] No space left on device); go on")
    assert err.count("\n") == 1 and (tmp_path / "b" / "model.ckpt-1.index").exists()
    assert [line["step"] for line in runs.metrics(tmp_path / "b") if line["split"] == "train"] == list(range(6))


@pytest.mark.slow
def test_a_folder_that_is_removed_while_training_is_made_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"
    assert train(monkeypatch, path, at=4, act=lambda: shutil.rmtree(path)) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 3 and "training goes on" in captured.err  # log.txt, metrics.jsonl and events
    assert (path / "model.ckpt-5.index").exists()
    assert [line["step"] for line in runs.metrics(path)] == [4, 5, 5]


def test_a_folder_is_one_process_s_to_train_in_and_anybody_s_to_test(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"
    assert train(monkeypatch, path) == 0
    with lock.RunLock(str(path), print):
        for options in ({"resume": True}, {"load": str(path)}):
            with pytest.raises(ValueError, match=f"is being trained in by process {os.getpid()} on "):
                run(METHOD, settings(path, max_steps=9, **options))
        with pytest.raises(ValueError, match="trains there, and its checkpoints come and go"):
            run(METHOD, settings(tmp_path / "new", load=str(path), max_steps=9))
        assert run(METHOD, settings(tmp_path / "none", task="test", load=str(path))) == 0
    assert not (tmp_path / "new").exists() and not (tmp_path / "none").exists()


@pytest.fixture
def start():
    """`start(words...)` starts a Python program; what still runs in the end is killed."""
    processes = []

    def begin(*words, cwd):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([sys.executable, *words], cwd=cwd, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("after", "flags"),
    [
        ("network CNN-6", []),  # the first step, which prepares the graph
        ("step 2,", ["--save_freq=1"]),  # a save
        ("step 1,", ["--vali_freq=1", "--vali_batch_size=1"]),  # an evaluation
    ],
)
def test_a_signal_at_any_time_ends_with_a_checkpoint(number, after, flags, tmp_path, start):
    words = ["--data=synthetic", "--rotation=none", "--widths=4,4,4,4", "--max_steps=100000", "--report_freq=1"]
    process = start("train.py", *words, f"--train_path={tmp_path / 'run'}", *flags, cwd=ROOT / "opt_gs")
    for line in process.stdout:
        if line.startswith(after):
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + number and "Traceback" not in err
    if "nothing to save" not in err:
        last = max(int(path.stem.split("-")[1]) for path in (tmp_path / "run").glob("model.ckpt-*.index"))
        assert f"step {last}, saved" in out and f"interrupted by {number.name}; go on with --resume" in out
        assert not (tmp_path / "run" / "run.lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_graph_is_built_leaves_nothing(number, tmp_path, start):
    program_text = (
        "import time\nfrom common.cli import program\nfrom common.training import problem\n"
        "from opt_gs.train import method\n"
        "def slow(*arguments, **options):\n"
        "    print('building', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.1)\n"  # a long call would keep Python from handling a signal that another thread got
        "problem.build = slow\n"
        "from common.cli.start import main\n"
        "main(method().settings_class, method)\n"
    )
    process = start("-c", program_text, "--data=synthetic", f"--train_path={tmp_path / 'run'}", cwd=ROOT)
    for line in process.stdout:
        if line.startswith("building"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == f"interrupted by {number.name}; there was nothing to save\n" and list(tmp_path.iterdir()) == []
