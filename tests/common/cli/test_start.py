"""How programs start: flags without TensorFlow, flag files, flags of a checkpoint's run, streams, signals."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from common import flags
from common.cli import program, recipe, settings, start, tasks
from common.cli.settings import OptSettings
from common.compat import tf
from common.data import datasets
from grassmann.settings import Settings as GrassmannSettings
from opt_ogd.settings import OgdSettings
from sopt_gs.maps import MAPS
from sopt_gs.settings import EpisodeSettings

ROOT = pathlib.Path(__file__).resolve().parents[3]
VERSION_1 = ROOT.parent / "shared" / "reference" / "version1"
BLOCKED = """
import runpy, sys
sys.modules["tensorflow"] = None
sys.argv = sys.argv[1:]
sys.path[0] = "."
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def process(folder, *words, **options):
    """Runs a program in which TensorFlow cannot be imported."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, **options}
    return subprocess.run([sys.executable, "-c", BLOCKED, "train.py", *words], cwd=ROOT / folder, **options)


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        (["--help"], 0, "--keep_prob: probability", ""),
        (["--helpfull"], 0, "--keep_prob: probability", ""),
        (["--nosuch"], 1, "", "error: Unknown command line flag 'nosuch'; --help lists the flags\n"),
        ([], 1, "", "error: --model is missing: choose one of resnet, vgg11, vgg13, vgg16, vgg19\n"),
        (["--model=resnet", "--optimizer=sgd", "--k=many"], 1, "", "error: flag --k=many: expected a whole number"),
        (["--model=resnet", "--optimizer=sgd", "--omega=nan"], 1, "", "error: --omega=nan: expected a finite number"),
        (["surplus"], 1, "", "error: unexpected argument 'surplus': flags are written --name=value\n"),
        (["--model=resnet", "--optimizer=sgd", "--only_check_args"], 0, "", ""),
        (["--model=resnet", "--task=export"], 1, "", "error: --task=export needs --load=PATH"),
        (["--model=resnet", "--optimizer=sgd", "--load=gs://a/b"], 1, "", "error: --load=gs://a/b: expected a path of"),
    ],
)
def test_flags_are_answered_without_tensorflow(words, status, out, err):
    done = process("grassmann", *words)
    assert done.returncode == status and out in done.stdout and done.stderr.startswith(err)
    assert done.stderr.count("\n") <= 1


def test_every_program_reads_its_flags_without_tensorflow():
    for folder, module in start.train_modules().items():
        code = f"import sys; sys.modules['tensorflow'] = None; import {module.__name__} as t; t.Settings.names()"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0, folder
        script = (ROOT / folder / "train.py").read_text()
        assert len(script.splitlines()) < 20 and "realpath" in script


def test_a_link_to_train_py_finds_its_own_clone(tmp_path):
    link = tmp_path / "train.py"
    link.symlink_to(ROOT / "opt_hr" / "train.py")
    done = subprocess.run([sys.executable, link, "--only_check_args"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_constants_of_the_settings_are_those_of_what_they_choose():
    assert settings.TASKS == tuple(tasks.TASKS)
    (maps,) = [f.metadata["choices"] for f in dataclasses.fields(EpisodeSettings) if f.name == "map"]
    assert set(maps) == set(MAPS)
    for module in start.train_modules().values():
        assert module.method().settings_class is module.Settings
    assert set(recipe.methods()) == set(start.train_modules()) - {"grassmann"}


# --- flag files ---


def read(*words, of=OptSettings):
    line, remarks = start.read(of, words)
    return line.settings(), remarks


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf--seed=7\n--nosync_bn\n", b"# who\r\n--seed=7\r\n\r\n// why\r\n--nosync_bn\r\n",
        b"--seed=7\n--sync_bn=false",
    ],  # fmt: skip
)
def test_flag_files_with_marks_and_foreign_line_ends(data, tmp_path):
    (tmp_path / "f").write_bytes(data)
    found, _ = read(f"--flagfile={tmp_path}/f")
    assert (found.seed, found.sync_bn) == (7, False)


def test_a_flag_file_in_utf_16_is_named(tmp_path):
    (tmp_path / "f").write_bytes("--seed=7\n".encode("utf-16"))
    with pytest.raises(ValueError, match=f"^--flagfile={tmp_path}/f is UTF-16, or no text at all: save it as UTF-8$"):
        read("--flagfile", f"{tmp_path}/f")


def test_the_command_line_wins_over_flag_files_which_may_name_others(tmp_path):
    (tmp_path / "a").write_text(f"--seed=1\n--flagfile={tmp_path}/b\n--depth=16\n")
    (tmp_path / "b").write_text(f"--seed=2\n--flagfile={tmp_path}/a\n--num_gpus=2\n")
    for words in (["--depth", "22", f"--flagfile={tmp_path}/a"], [f"--flagfile={tmp_path}/a", "--depth", "22"]):
        found, _ = read(*words)
        assert (found.seed, found.depth, found.num_gpus) == (2, 22, 2)


@pytest.mark.skipif(not VERSION_1.is_dir(), reason="runs of the first version are not here")
@pytest.mark.parametrize("folder", ["opt_gs", "opt_ogd", "sopt_gs", "grassmann_sgdg"])
def test_flags_of_the_first_version(folder):
    module = start.train_modules()[folder.partition("_sgdg")[0]]
    found, remarks = read(f"--flagfile={VERSION_1 / folder / 'flags.txt'}", of=module.Settings)
    assert (found.seed, found.task, found.max_steps) == (3, "train", 30)
    assert remarks == ["these flags are no more, and do nothing: --shard_maps"] and found.useless() == {}


def test_old_names_count_as_the_new_ones(tmp_path):
    (tmp_path / "f").write_text("--map_method=qr\n--memory_limit=8\n--noshard_maps\n")
    found, remarks = read(f"--flagfile={tmp_path}/f", "--gpu_no=0,1")
    assert (found.map_algorithm, found.visible_devices) == ("qr", "0,1")
    assert remarks == ["these flags are no more, and do nothing: --shard_maps, --memory_limit"]
    assert flags.parsed("--map_method=qr\n--shard_maps=True\n--seed=1\n") == {"map_algorithm": "qr", "seed": "1"}


# --- flags of a checkpoint's run ---


ALONE = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'


@pytest.fixture
def trained(tmp_path):
    """The folder of a run with flags of its own; flags.txt as the first version wrote it, the task within."""
    own = OptSettings(data="digits", model="cnn9", widths=(4, 4, 4, 4), rotation="free", num_gpus=2, seed=5)
    text = flags.text(own)
    (tmp_path / "flags.txt").write_text(f"# opt_gs-free\n--task=train\n--shard_maps=True\n--load=/x\n{text}")
    return tmp_path


def test_a_test_takes_the_flags_of_the_run_and_the_command_line_wins(trained):
    for load in (trained, trained / "model.ckpt-3"):
        found, remarks = read("--task=test", f"--load={load}", "--seed=6")
        assert (found.data, found.model, found.widths, found.rotation) == ("digits", "cnn9", (4, 4, 4, 4), "free")
        assert (found.task, found.load, found.seed, found.num_gpus) == ("test", str(load), 6, 1)
        assert remarks == ["these flags are no more, and do nothing: --shard_maps"]


def test_a_run_that_begins_at_another_has_its_flags_where_none_are_given(trained, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    new = str(tmp_path / "new")
    for more in ((), ("--resume",)):  # of the new one there is no checkpoint yet
        found, _ = read(f"--load={trained}", f"--train_path={new}", "--base_lr=0.5", *more)
        assert (found.data, found.model, found.rotation, found.base_lr) == ("digits", "cnn9", "free", 0.5)
        assert (found.task, found.seed, found.num_gpus, found.train_path) == ("train", 5, 1, new)


def test_on_other_images_it_has_a_preset_of_its_own(trained, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    found, _ = read(f"--load={trained}", "--data=fashion_mnist")
    assert (found.data, found.model, found.rotation, found.seed) == ("fashion_mnist", "cnn6", "method", 0)
    monkeypatch.chdir(tmp_path)
    text = (trained / "flags.txt").read_text().replace("--data=digits", f"--data={tmp_path}/own.npz")
    (trained / "flags.txt").write_text(text)
    assert read(f"--load={trained}", "--data=own.npz")[0].model == "cnn9"


def test_a_run_goes_on_with_its_own_flags_where_none_are_given(trained, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    words = "--resume", f"--train_path={trained}", "--save_freq=7"
    assert read(*words)[0].data == "auto"  # without a checkpoint it starts afresh
    (trained / "model.ckpt-3.index").touch()
    found, _ = read(*words)
    assert (found.data, found.model, found.widths, found.rotation) == ("digits", "cnn9", (4, 4, 4, 4), "free")
    assert (found.task, found.load, found.seed, found.num_gpus, found.save_freq) == ("train", None, 5, 2, 7)
    with (trained / "flags.txt").open("a") as file:
        file.write("--data_dir=/chief\n")
    assert read(*words)[0].data_dir == "/chief"
    found, _ = read(*words, "--worker_hosts=a:1,b:1")  # each worker may have its own
    assert found.data_dir != "/chief" and found.model == "cnn9"
    assert read(*words, "--worker_hosts=a:1", "--task_index=0")[0].data_dir == "/chief"
    for environment, own in (("", "/chief"), (ALONE, "/chief"), (ALONE.replace("]", ', "b:1"]'), "./datasets/")):
        monkeypatch.setenv("TF_CONFIG", environment)
        assert read(*words)[0].data_dir == own
    with (trained / "flags.txt").open("a") as file:
        file.write("--max_steps=30\n--warmup_steps=3\n--bn_decay=0.5\n--vali_freq=4\n")
    for more, expected in (((), (30, 3, 0.5, 4)), (("--max_steps=60",), (60, None, None, None))):
        found, _ = read(*words, *more)
        assert (found.max_steps, found.warmup_steps, found.bn_decay, found.vali_freq) == expected
    (trained / "flags.txt").write_text("--max_steps=30\n--vali_freq=5\n--model=resnet\n--optimizer=sgd\n")
    assert read(*words, "--max_steps=60", of=GrassmannSettings)[0].vali_freq is None
    (trained / "flags.txt").write_text("--max_steps=30\n--episodes=6\n--episode_steps=5\n")
    found, _ = read(*words, "--episodes=7", of=EpisodeSettings)
    assert (found.episodes, found.max_steps) == (7, None)
    (trained / "model.ckpt-3.index").unlink()
    assert read(*words, of=EpisodeSettings)[0].episodes is None
    (trained / "saving-01234567").mkdir()  # a save that was killed before its last renaming
    (trained / "saving-01234567" / "model.ckpt-3.index").touch()
    assert read(*words, of=EpisodeSettings)[0].episodes == 6


def test_a_checkpoint_of_another_program_is_named(trained):
    done = process("grassmann", "--task=test", f"--load={trained}")
    assert done.stderr.startswith("error: --model=cnn9: expected one of resnet, vgg11") and done.stderr.count("\n") == 1
    assert f"flags that are not given are those of {trained}/flags.txt, a run of opt_gs-free" in done.stderr


def test_the_flag_file_of_the_run_does_not_make_a_test_a_training(trained):
    words = ["--task=test", f"--load={trained}", f"--flagfile={trained}/flags.txt"]
    for order in (words, words[::-1]):
        found, _ = read(*order)
        assert (found.task, found.load, found.model) == ("test", str(trained), "cnn9")
    assert "--task" not in flags.text(OptSettings(task="see"))


def test_what_is_needed_without_a_flags_txt_is_said(tmp_path):
    found, (line,) = read("--task=export", f"--load={tmp_path}/model.ckpt-3", "--data=digits")
    assert found.data == "digits" and line.count("\n") == 0
    assert line.startswith(f"there is no flags.txt in {tmp_path}, or no flag in it: give --data, --model and")
    done = process("grassmann", "--task=test", f"--load={tmp_path}")
    assert done.stderr.startswith("error: --model is missing: choose one of resnet")
    assert "there is no flags.txt" in done.stderr and done.stderr.count("\n") == 1
    (tmp_path / "flags.txt").write_text("rubbish\n")
    assert read("--task=export", f"--load={tmp_path}/model.ckpt-3")[1] == [line]
    assert read(f"--load={tmp_path}/model.ckpt-3")[1] == []  # training goes on with what it is given


# --- flags that cannot matter, paths ---


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        (OptSettings, {"model": "cnn6", "depth": 28, "widen_factor": 1}, ["depth"]),
        (OptSettings, {"model": "resnet", "depth": 28}, []),
        (OptSettings, {"device": "cpu", "visible_devices": "0", "sync_bn": False}, ["sync_bn", "visible_devices"]),
        (OptSettings, {"num_gpus": 2, "sync_bn": False, "data": "digits", "data_dir": "/d"}, ["data_dir"]),
        (OgdSettings, {"rotation": "none", "rotation_lr": 0.1}, ["rotation_lr"]),
        (EpisodeSettings, {"rotation": "free", "sample_ratio": 0.5, "episodes": 3}, ["episodes", "sample_ratio"]),
        (GrassmannSettings, {"omega": 0.1, "learnRateG": 0.2}, ["learnRateG", "omega"]),
        (GrassmannSettings, {"grassmann": True, "omega": 0.1, "grad_clip": 0.1}, ["grad_clip"]),
        (GrassmannSettings, {"optimizer": "sgdg", "grassmann": True, "adam_beta2": 0.9}, ["adam_beta2"]),
        (GrassmannSettings, {"optimizer": "adamg", "grassmann": True, "adam_beta2": 0.9, "grad_clip": 1.0}, []),
        (GrassmannSettings, {"model": "vgg11", "gammaDecay": 1e-4, "depth": 16}, ["depth", "gammaDecay"]),
        (GrassmannSettings, {"data": "svhn", "padding_size": 2}, ["padding_size"]),
    ],
)
def test_flags_that_cannot_matter_are_found(kind, options, names, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    needed = {"model": "resnet", "optimizer": "sgd"} if kind is GrassmannSettings else {}
    assert sorted(kind(**{**needed, **options}).useless()) == names


@pytest.mark.parametrize("name", ["data_dir", "train_dir", "train_path", "load", "export_dir"])
@pytest.mark.parametrize("address", ["gs://bucket/x", "s3://bucket/x", "file:///x", "hdfs://x"])
def test_addresses_are_no_paths_and_home_is_expanded(name, address, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    with pytest.raises(ValueError, match=f"^--{name}={address}: expected a path of this machine's file system; copy"):
        read(f"--{name}={address}")
    assert getattr(read(f"--{name}=~/a b")[0], name) == "/home/ann/a b"


# --- streams and signals ---


def test_help_through_streams_of_all_kinds():
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "utf-8"}):
        done = process("opt_ls", "--help", env={**os.environ, **environment}, encoding="utf-8")
        assert done.returncode == 0 and done.stderr == "" and "wdin" in done.stdout
    command = f"{sys.executable} train.py"
    for shell, status in (
        (f"{command} --help | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}", 0),
        (f"{command} --help >&-", 0),
        (f"{command} --help 2>&-", 0),
        (f"{command} --nosuch 2>&-", 1),
        (f"{command} --nosuch >&- 2>&- <&-", 1),
    ):
        done = subprocess.run(["bash", "-c", shell], cwd=ROOT / "opt_ls", capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (status, ""), shell


LOST = """
import sys
sys.path.insert(0, {root!r})
from common import console
console.prepare()
console.say("error = 3 %")
sys.exit(console.finish(0, needed={needed}))
"""


@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_figures_that_could_not_be_written_are_an_error_where_they_are_all_there_is(needed, status):
    with open("/dev/full", "w") as full:
        script = LOST.format(root=str(ROOT), needed=needed)
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True)
    error = "error: the output could not be written: No space left on device\n" if needed else ""
    assert (done.returncode, done.stderr) == (status, error)


IMPORTING = """
import sys, time
sys.path.insert(0, {root!r})
from common.cli.settings import OptSettings
from common.cli.start import main
def method():
    print("importing", flush=True)
    try:
        time.sleep(60)
    except BaseException:
        raise ImportError("as extension modules make it of whatever comes")
main(OptSettings, method, [])
"""


def test_ctrl_c_while_tensorflow_is_imported_is_one_line():
    command, pipe = [sys.executable, "-c", IMPORTING.format(root=str(ROOT))], subprocess.PIPE
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    try:
        assert child.stdout.readline() == "importing\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert err.strip() == "interrupted while the program was starting; there was nothing to save"


@pytest.mark.parametrize(
    "error, said, ended",
    [("KeyboardInterrupt", "interrupted while", (130, True)), ("ValueError", "Traceback", (1, False))],
)
def test_ctrl_c_while_python_imports_the_program_is_one_line(error, said, ended, tmp_path):
    (tmp_path / "train.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import common; raise {error}")
    done = subprocess.run([sys.executable, tmp_path / "train.py"], capture_output=True, text=True)
    assert done.stderr.startswith(said)
    assert (done.returncode, done.stderr.count("\n") == 1) == ended


def test_two_programs_in_one_process(monkeypatch):
    """Flags belong to a call: same names, other defaults, and absl's own of whoever runs the notebook."""
    monkeypatch.setattr(sys, "argv", ["ipykernel", "-f", "x.json"])
    ran = []
    monkeypatch.setattr("common.cli.program.execute", lambda method, given, remarks: ran.append((method, given)) or 0)
    for kind, words in ((OptSettings, ["--seed=1"]), (GrassmannSettings, ["--model=resnet", "--optimizer=sgd"])):
        with pytest.raises(SystemExit) as end:
            start.main(kind, object, words)
        assert end.value.code == 0
    assert [given.seed for _, given in ran] == [1, 0] and [given.report_freq for _, given in ran] == [100, 10]


def test_out_of_memory_is_one_line_that_names_the_flags(monkeypatch, capsys):
    errors = [tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nmore"), MemoryError()]
    for error in errors:
        monkeypatch.setattr(program, "run", lambda *arguments, error=error: (_ for _ in ()).throw(error))
        assert program.execute(None, None) == 1
        line = capsys.readouterr().err
        assert line.startswith("error: out of memory (") and line.count("\n") == 1
        assert "--batch_size" in line and "--vali_batch_size" in line


def test_auto_is_never_another_data_set_when_a_checkpoint_is_tested(monkeypatch):
    def load(name, **options):
        raise datasets.NotAvailable(f"{name} is nowhere")

    monkeypatch.setattr(datasets, "load", load)
    method = start.train_modules()["opt_gs"].method()
    with pytest.raises(ValueError, match="^cifar100 is nowhere; --data=NAME is the data set"):
        program._dataset(method, OptSettings(task="test", load="/x"))


def test_episodes_on_the_command_line_replace_the_number_of_updates_in_a_flag_file(tmp_path):
    """The first version's flags.txt has both; a run that goes on is given more episodes."""
    (tmp_path / "flags.txt").write_text("--max_steps=30\n--episodes=6\n--episode_steps=5\n")
    words = [f"--flagfile={tmp_path}/flags.txt"]
    assert start.read(EpisodeSettings, words)[0].settings().max_steps == 30
    for added, expected in ((["--episodes=7"], None), (["--episodes=7", "--max_steps=32"], 32)):
        found = start.read(EpisodeSettings, [*added, *words])[0].settings()
        assert (found.episodes, found.episode_steps, found.max_steps) == (7, 5, expected)
