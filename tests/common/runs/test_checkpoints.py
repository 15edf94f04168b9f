"""Saving, finding and loading checkpoints."""

import numpy as np
import pytest

from common.compat import tf
from common.graph import initializers, variables
from common.graph.variables import Role
from common.runs import checkpoints
from common.runs.saver import Keeper


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
        keeper = Keeper(str(folder), 2)
        session.run(tf.assign(slot, tf.ones([2, 3])))
        for step in steps:
            session.run(tf.assign(variables.global_step(), step + 1))
            path = keeper.save(session, step)
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


def test_a_folder_means_its_newest(tmp_path):
    path, _ = save(tmp_path, steps=(3, 7, 11))
    assert path.endswith("model.ckpt-11")
    assert checkpoints.find(str(tmp_path)) == path
    assert checkpoints.find(path) == checkpoints.find(path + ".index") == path
    assert not (tmp_path / "model.ckpt-3.index").exists()


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
