"""Checkpoints are complete or absent, and the newest good one is taken."""

import hashlib
import os
import pathlib
import shutil
import tempfile

import pytest

from common import files
from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.runs import checkpoint_files, checkpoints, saver
from common.runs.saver import CheckpointManager, SaveError
from tests.full_disk import full_disk

DATA = ".data-00000-of-00001"


class Saved:
    """A weight that is 10 * step when model.ckpt-STEP is written."""

    def __init__(self, folder, max_to_keep=3):
        self.folder = folder
        self.weight = variables.create("layer/weight", [40, 50], Role.WEIGHT, initializers.zeros)
        self._value = tf.placeholder(tf.float32, [])
        self._assign = tf.assign(self.weight, tf.fill([40, 50], self._value))
        self.session = tf.Session()
        self.manager = CheckpointManager(str(folder), max_to_keep)
        self.manager.begin()

    def save(self, *steps):
        for step in steps:
            self.session.run(self._assign, {self._value: 10.0 * step})
            path = self.manager.save(self.session, step)
        return path


def value_in(path):
    return set(tf.train.load_checkpoint(str(path)).get_tensor("layer/weight").ravel())


def steps_in(folder):
    return [int(path.rpartition("-")[2]) for path in checkpoints.listed(str(folder))]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_has_its_files_and_their_sums_and_only_the_newest_stay(tmp_path):
    path = Saved(tmp_path, max_to_keep=2).save(1, 3, 5)
    assert path == str(tmp_path / "model.ckpt-5") and value_in(path) == {50.0}
    expected = [f"model.ckpt-{step}{ending}" for step in (3, 5) for ending in (DATA, ".index", ".sha256")]
    assert names_in(tmp_path) == ["checkpoint", *expected]
    lines = (tmp_path / "model.ckpt-5.sha256").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    for ending in (DATA, ".index"):
        data = (tmp_path / f"model.ckpt-5{ending}").read_bytes()
        assert sums.pop(f"model.ckpt-5{ending}") == hashlib.sha256(data).hexdigest()
    assert sums == {}


def test_tensorflow_reads_the_list_of_them(tmp_path):
    path = Saved(tmp_path).save(1, 3)
    assert tf.train.latest_checkpoint(str(tmp_path)) == path
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert [os.path.basename(path) for path in state.all_model_checkpoint_paths] == ["model.ckpt-1", "model.ckpt-3"]


# The first ones are patterns for TensorFlow's reader; one of them matches the folder beside it.
@pytest.mark.parametrize("name", ["a[1]", "b*", "q?", "back\\slash", "[", "x{1,2}", "sp ace", "caf\u00e9", "\udcff"])
def test_any_path_of_the_file_system_works(name, tmp_path):
    folder = tmp_path / name / "run"
    try:
        folder.mkdir(parents=True)
    except (OSError, UnicodeError):
        pytest.skip("this file system does not have such names")
    Saved(folder, max_to_keep=2).save(1, 3)
    assert steps_in(folder) == [1, 3]
    path = checkpoints.find(str(folder), pytest.fail)
    assert path == f"{folder}/model.ckpt-3" and checkpoints.unreadable(path) is None
    variable = variables.with_role(Role.WEIGHT)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        checkpoints.load(session, path, variable)
        assert set(session.run(variable[0]).ravel()) == {30.0}
    (folder / "model.ckpt-3.sha256").unlink()
    assert checkpoints.newest(str(folder), pytest.fail) == path
    assert names_in(tmp_path) == [name]


def damage(folder, how, step):
    prefix = folder / f"model.ckpt-{step}"
    data, index = (pathlib.Path(f"{prefix}{ending}") for ending in (DATA, ".index"))
    if how == "truncated":
        data.write_bytes(data.read_bytes()[:-1])
    elif how == "flipped":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif how == "no shard":
        data.unlink()
    elif how == "no index":
        index.unlink()
    elif how == "index":
        index.write_bytes(b"\0" * 100)
    elif how == "sums":
        pathlib.Path(f"{prefix}.sha256").write_bytes(b"\xff\0 nothing")


HOW = ("truncated", "flipped", "no shard", "no index", "index", "sums")


@pytest.mark.parametrize(("how", "sums"), [*((how, True) for how in HOW), *((how, False) for how in HOW[:-1])])
def test_a_damaged_one_is_reported_and_the_one_before_it_taken(how, sums, tmp_path):
    Saved(tmp_path).save(1, 3, 5)
    for path in [] if sums else tmp_path.glob("*.sha256"):  # as other programs write them
        path.unlink()
    damage(tmp_path, how, 5)
    said = []
    assert checkpoints.find(str(tmp_path), said.append) == str(tmp_path / "model.ckpt-3")
    assert len(said) == 1 and "\n" not in said[0]
    assert said[0].startswith(f"{tmp_path}/model.ckpt-5 is damaged (")
    assert said[0].endswith("; the one before it is taken")
    if sums:
        with pytest.raises(ValueError, match="is damaged|there is no such checkpoint") as error:
            checkpoints.find(str(tmp_path / "model.ckpt-5"))
        assert "\n" not in str(error.value)


def test_if_all_are_damaged_it_is_an_error_and_nothing_changes(tmp_path):
    Saved(tmp_path).save(1, 3)
    damage(tmp_path, "flipped", 1)
    damage(tmp_path, "truncated", 3)
    before = names_in(tmp_path)
    with pytest.raises(ValueError, match=r"none of the checkpoints in .* \(2\) can be used: .*ckpt-1 is damaged"):
        checkpoints.newest(str(tmp_path), lambda line: None)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("content", [None, b"", b"\0\xff rubbish \n", b'all_model_checkpoint_paths: "model.ckpt-77"\n'])
def test_without_a_usable_list_the_order_is_that_of_writing(content, tmp_path):
    Saved(tmp_path).save(9, 4)
    os.utime(tmp_path / "model.ckpt-9.index", (1e9, 1e9))
    os.utime(tmp_path / "model.ckpt-4.index", (2e9, 2e9))
    (tmp_path / "checkpoint").unlink()
    if content is not None:
        (tmp_path / "checkpoint").write_bytes(content)
    assert steps_in(tmp_path) == [9, 4]


def test_the_list_says_the_order_and_one_that_it_lacks_goes_by_its_step(tmp_path):
    """A copy has new times; a saver may be killed before the list is written, or before an old one is removed."""
    Saved(tmp_path, max_to_keep=9).save(2, 4, 6, 8)
    for step, time in ((2, 4e9), (4, 3e9), (6, 2e9), (8, 1e9)):
        os.utime(tmp_path / f"model.ckpt-{step}.index", (time, time))
    assert steps_in(tmp_path) == [2, 4, 6, 8]
    files.replace(str(tmp_path / "checkpoint"), "".join(f'all_model_checkpoint_paths: "{p}"\n' for p in
                                                        ("model.ckpt-4", "/elsewhere/model.ckpt-6")))
    assert steps_in(tmp_path) == [2, 4, 6, 8]


def test_those_of_a_past_that_is_replaced_become_the_oldest(tmp_path, monkeypatch):
    saved = Saved(tmp_path, max_to_keep=3)
    saved.save(1, 3, 5)
    monkeypatch.chdir(tmp_path.parent)
    saved.manager.begin(f"./{tmp_path.name}/model.ckpt-1")
    assert steps_in(tmp_path) == [3, 5, 1]
    saved.save(2)
    assert steps_in(tmp_path) == [5, 1, 2]
    assert value_in(saved.save(5)) == {50.0}
    assert steps_in(tmp_path) == [1, 2, 5]


STAGES = {
    "the folder for it": (tempfile, "mkdtemp"),
    "syncing": (files, "sync"),
    "reading back": (checkpoints, "unreadable"),
    "the sums": (checkpoint_files, "write_sums"),
    "renaming": (os, "replace"),
    "listing": (tf.train, "update_checkpoint_state"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_wherever_a_save_fails_the_older_ones_stay_and_the_next_succeeds(stage, tmp_path, monkeypatch):
    saved = Saved(tmp_path, max_to_keep=1)
    saved.save(1)

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*STAGES[stage], fail)
    with pytest.raises(SaveError, match="No space left on device$"):
        saved.save(3)
    monkeypatch.undo()
    assert not list(tmp_path.glob("saving*"))
    good = checkpoints.newest(str(tmp_path), lambda line: None)
    assert value_in(good) in ({10.0}, {30.0}) and value_in(tmp_path / "model.ckpt-1") == {10.0}
    assert value_in(saved.save(5)) == {50.0}
    assert steps_in(tmp_path) == [5]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("renamed", range(4))
def test_wherever_a_save_is_killed_what_is_there_is_complete(renamed, step, tmp_path, monkeypatch):
    """Killed at each renaming: of the list of sums (0), of data, sums and index (1 to 3); also in place of another."""
    run, folder = tmp_path / "run", tmp_path / "killed"
    run.mkdir()
    saved = Saved(run, max_to_keep=1)
    saved.save(1)
    rename, count = os.replace, iter(range(100))

    def replace(*arguments):
        if next(count) == renamed:
            shutil.copytree(run, folder)
            raise Killed
        rename(*arguments)

    monkeypatch.setattr(os, "replace", replace)
    saved.session.run(saved.weight.assign([[7.0] * 50] * 40))
    with pytest.raises(Killed):
        saved.manager.save(saved.session, step)
    monkeypatch.undo()
    saver.tidy(str(folder))
    is_new = renamed > 0
    assert value_in(checkpoints.find(str(folder), pytest.fail)) == ({7.0} if is_new else {10.0})
    steps = sorted({1, step} if is_new else {1})
    files_of = [f"model.ckpt-{step}{ending}" for step in steps for ending in (DATA, ".index", ".sha256")]
    assert names_in(folder) == ["checkpoint", *files_of]


def test_a_complete_checkpoint_that_cannot_be_renamed_waits_for_the_next_start(tmp_path, monkeypatch):
    saved = Saved(tmp_path, max_to_keep=1)
    saved.save(1)
    rename = os.replace

    def replace(source, target):
        if ".sha256" not in source:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(SaveError, match="Input/output error$"):
        saved.save(1)
    monkeypatch.undo()
    saver.tidy(str(tmp_path))
    assert value_in(checkpoints.find(str(tmp_path), pytest.fail)) == {10.0}
    assert len(names_in(tmp_path)) == 4


def test_what_a_save_has_left_incomplete_replaces_nothing(tmp_path):
    """The index alone, as a removal that was cut off may leave it; and what the first version had renamed: the sums."""
    Saved(tmp_path).save(1)
    before = names_in(tmp_path)
    for name, endings, renamed in (("saving-aaaaaaaa", [".index"], []), ("saving", [".index", DATA], [".sha256"])):
        (tmp_path / name).mkdir()
        step = 3 if renamed else 1
        for ending in endings:
            shutil.copy(tmp_path / f"model.ckpt-1{ending}", tmp_path / name / f"model.ckpt-{step}{ending}")
        for ending in renamed:
            shutil.copy(tmp_path / f"model.ckpt-1{ending}", tmp_path / f"model.ckpt-{step}{ending}")
        saver.tidy(str(tmp_path))
        assert names_in(tmp_path) == before
        assert value_in(checkpoints.find(str(tmp_path), pytest.fail)) == {10.0}


def test_tidying_removes_only_what_is_ours(tmp_path):
    Saved(tmp_path).save(1)
    (tmp_path / "model.ckpt-7.data-00000-of-00001").write_bytes(b"somebody's")
    (tmp_path / "notes.tmp").write_text("somebody's")
    (tmp_path / "saving-account").mkdir()
    before = names_in(tmp_path)
    (tmp_path / "checkpoint.tmp0123").write_text("half")
    (tmp_path / "flags.txt.tmp").write_text("half")
    (tmp_path / "saving").mkdir()  # as the first version called it
    saver.tidy(str(tmp_path))
    assert names_in(tmp_path) == before


def test_what_reads_back_wrongly_never_gets_its_name(tmp_path, monkeypatch):
    """A disk that loses a bit between writing and reading."""
    saved = Saved(tmp_path, max_to_keep=1)
    saved.save(1)
    sync = files.sync

    def lossy(path):
        sync(path)
        if path.endswith(DATA):
            content = bytearray(pathlib.Path(path).read_bytes())
            content[100] ^= 1
            pathlib.Path(path).write_bytes(content)

    monkeypatch.setattr(files, "sync", lossy)
    with pytest.raises(SaveError, match="reads back wrongly: .*Checksum does not match") as error:
        saved.save(3)
    assert "\n" not in str(error.value) and steps_in(tmp_path) == [1]


def test_a_full_disk_is_one_line_and_the_older_stays(tmp_path):
    saved = Saved(tmp_path, max_to_keep=1)
    saved.save(1)
    with full_disk(4000), pytest.raises(SaveError, match="File too large") as error:
        saved.save(3)
    assert "\n" not in str(error.value)
    assert steps_in(tmp_path) == [1] and value_in(tmp_path / "model.ckpt-1") == {10.0}
    assert value_in(saved.save(5)) == {50.0}
    assert steps_in(tmp_path) == [5]


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    saved = Saved(tmp_path / "run")
    with pytest.raises(SaveError, match="No such file or directory"):
        saved.save(1)
