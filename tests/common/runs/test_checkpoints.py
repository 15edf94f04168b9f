"""Saving, finding and loading checkpoints."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.runs import checkpoints
from common.runs.saver import CheckpointManager


def build(width=3, value=1.0):
    """A graph with a weight, data that are never saved, and a momentum slot."""
    variables.global_step()
    weight = variables.create("layer/weight", [2, width], Role.WEIGHT, initializers.normal(value))
    variables.create("images", [4], Role.DATA, initializers.zeros, tf.uint8)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)
    optimizer.minimize(tf.reduce_sum(tf.square(weight)), var_list=[weight])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session, weight, optimizer.get_slot(weight, "momentum")


def save(folder, steps=(7,), **options):
    with tf.Graph().as_default():
        session, weight, slot = build(**options)
        manager = CheckpointManager(str(folder), 2)
        session.run(tf.assign(slot, tf.ones([2, 3])))
        for step in steps:
            session.run(tf.assign(variables.global_step(), step + 1))
            path = manager.save(session, step)
        return path, session.run(weight)


def test_round_trip_with_slots_and_step(tmp_path):
    path, expected = save(tmp_path)
    assert path == str(tmp_path / "model.ckpt-7")
    tf.set_random_seed(5)
    session, weight, slot = build()
    assert not np.array_equal(session.run(weight), expected)
    fresh = checkpoints.load(session, path, checkpoints.model_variables(), [slot])
    assert fresh == []
    np.testing.assert_array_equal(session.run(weight), expected)
    np.testing.assert_array_equal(session.run(slot), np.ones([2, 3]))
    assert session.run(variables.global_step()) == 8


def test_data_are_not_in_it(tmp_path):
    path, _ = save(tmp_path)
    names = set(tf.train.load_checkpoint(path).get_variable_to_shape_map())
    assert names == {"global_step", "layer/weight", "layer/weight/Momentum"}


STRAY = (".", ".index", ".meta", ".sha256", ".data-00000-of-00001", ".data-0000", ".data", "")


@pytest.mark.parametrize("ending", STRAY)
def test_a_stray_ending_is_understood(ending, tmp_path):
    path, _ = save(tmp_path)
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"a graph, as other programs write it")
    assert checkpoints.find(path + ending) == path


def test_the_list_means_its_folder_and_a_folder_of_that_name_itself(tmp_path, monkeypatch):
    path, _ = save(tmp_path, steps=(3, 7))
    assert checkpoints.find(str(tmp_path / "checkpoint")) == path
    monkeypatch.chdir(tmp_path)
    assert checkpoints.find("checkpoint") == "./model.ckpt-7"
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    path, _ = save(tmp_path / "run" / "checkpoint")
    assert checkpoints.find("run/checkpoint") == "run/checkpoint/model.ckpt-7"


def save_as_version_1(folder, step=7):
    with tf.Graph().as_default():
        session, weight, _ = build()
        session.run(tf.assign(variables.global_step(), step + 1))
        saver = tf.train.Saver(write_version=tf.train.SaverDef.V1)
        saver.save(session, str(folder / "model.ckpt"), global_step=step)
        return session.run(weight)


@pytest.mark.parametrize("folder", ["run", "[1]*?"])
def test_the_format_of_one_file_is_read(folder, tmp_path):
    folder = tmp_path / folder
    folder.mkdir()
    expected, path = save_as_version_1(folder), folder / "model.ckpt-7"
    assert path.is_file() and (folder / "model.ckpt-7.meta").is_file()
    for name in (path, f"{path}.", f"{path}.meta", folder, folder / "checkpoint"):
        assert checkpoints.find(str(name)) == str(path)
    session, weight, slot = build()
    assert checkpoints.load(session, str(path), checkpoints.model_variables(), [slot]) == []
    np.testing.assert_array_equal(session.run(weight), expected)
    assert session.run(variables.global_step()) == 8


def test_a_damaged_file_of_that_format_is_one_line_and_the_one_before_it_taken(tmp_path):
    save_as_version_1(tmp_path, 3)
    save_as_version_1(tmp_path, 7)
    path = tmp_path / "model.ckpt-7"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint") as error:
        checkpoints.find(str(path))
    assert "\n" not in str(error.value)
    said = []
    assert checkpoints.find(str(tmp_path), said.append) == str(tmp_path / "model.ckpt-3") and len(said) == 1
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        checkpoints.find(__file__)


ENDINGS = ("conv/weight", "conv/weight/Adamg", "conv/weight/Adamg_1", "batch_norm/beta", "batch_norm/pop_mean")


def vgg(groups):
    """Writes each group's number, counted from 0, into variables as VGG calls them; returns {name: value}."""
    values = {f"{group}_0/{ending}": [float(number)] for number, group in enumerate(groups) for ending in ENDINGS}
    return {**values, "global_step": [9.0], "fc0/weight": [7.0], "fc0/weight/Momentum": [8.0]}


@pytest.mark.parametrize("first", [0, 1])
def test_vgg_groups_of_the_first_version_are_lowered_by_one(first, tmp_path):
    """GROUP1 .. GROUP5 there are GROUP0 .. GROUP4 today, slots too; a file that has GROUP0 is taken as it is."""
    groups = [f"GROUP{first + number}" for number in range(5)] + (["GROUP5"] if first == 0 else [])
    with tf.Graph().as_default(), tf.Session() as session:
        saved = [tf.get_variable(name, initializer=value) for name, value in vgg(groups).items()]
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver(saved).save(session, str(tmp_path / "model.ckpt-8"))
    expected = vgg(["GROUP0", "GROUP1", "GROUP2", "GROUP3", "GROUP4"] + ["GROUP5"] * (first == 0))
    made = {name: tf.get_variable(name, [1], initializer=tf.zeros_initializer()) for name in expected}
    slots = [made[name] for name in made if "/Adamg" in name or "/Momentum" in name]
    fresh = tf.get_variable("GROUP3_0/conv/weight/Other", [1], initializer=tf.ones_initializer())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        needed = [variable for variable in made.values() if variable not in slots]
        assert checkpoints.load(session, path, needed, [*slots, fresh]) == ["GROUP3_0/conv/weight/Other"]
        assert {name: session.run(variable).tolist() for name, variable in made.items()} == expected


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint in this folder"):
        checkpoints.find(str(tmp_path))
    with pytest.raises(ValueError, match="model.ckpt-5.index is not a file"):
        checkpoints.find(str(tmp_path / "model.ckpt-5"))


def test_another_network_is_refused_and_nothing_is_changed(tmp_path):
    path, _ = save(tmp_path)
    session, weight, _ = build(width=4)
    before = session.run([weight, variables.global_step()])
    with pytest.raises(ValueError, match=r"another network .*layer/weight is \[2, 3\] there and \[2, 4\] here"):
        checkpoints.load(session, path, checkpoints.model_variables())
    after = session.run([weight, variables.global_step()])
    np.testing.assert_array_equal(before[0], after[0])
    assert after[1] == 0


def test_a_missing_variable_is_named(tmp_path):
    path, _ = save(tmp_path)
    session, _, _ = build()
    extra = variables.create("other", [5], Role.WEIGHT, initializers.ones)
    with pytest.raises(ValueError, match=r"other \[5\] is not in it"):
        checkpoints.load(session, path, [extra])
    session.run(extra.initializer)
    model = [variable for variable in checkpoints.model_variables() if variable is not extra]
    assert checkpoints.load(session, path, model, [extra]) == ["other"]


def test_a_checkpoint_with_more_layers_is_refused(tmp_path):
    """Slots and scalars, such as Adam's powers, may be there without a place here; variables of a network may not."""
    path, _ = save(tmp_path)
    session, weight, _ = build()
    without = [variable for variable in checkpoints.model_variables() if variable.op.name != weight.op.name]
    with pytest.raises(ValueError, match=r"layer/weight \[2, 3\] is there and not here"):
        checkpoints.load(session, path, without)
    checkpoints.load(session, path, checkpoints.model_variables())


def test_a_damaged_file_is_one_line(tmp_path):
    path, _ = save(tmp_path)
    session, _, _ = build()
    (tmp_path / "model.ckpt-7.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged") as error:
        checkpoints.load(session, path, checkpoints.model_variables())
    assert "\n" not in str(error.value)
    (tmp_path / "model.ckpt-7.index").write_bytes(b"no index")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint") as error:
        checkpoints.load(session, path, checkpoints.model_variables())
    assert "\n" not in str(error.value)


def test_numbers_of_another_type_are_converted(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        step = tf.get_variable("global_step", [], tf.float32, tf.constant_initializer(80.0))
        session.run(step.initializer)
        path = tf.train.Saver([step]).save(session, str(tmp_path / "model.ckpt-79"))
    session, _, _ = build()
    checkpoints.load(session, path, [variables.global_step()])
    assert session.run(variables.global_step()) == 80


def test_all_replicas_take_the_same_values(tmp_path):
    path, expected = save(tmp_path)
    with variables.replica_scope(1):
        variables.global_step()
        copy = variables.create("layer/weight", [2, 3], Role.WEIGHT, initializers.zeros)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        checkpoints.load(session, path, checkpoints.model_variables(replica=1))
        np.testing.assert_array_equal(session.run(copy), expected)
