"""Trains a small problem on several replicas of one process, and compares what comes out."""

import numpy as np

from common.cli import devices
from common.compat import tf
from common.data import synthetic
from common.graph import variables
from common.runs import checkpoints
from common.training import problem


def trained(program, settings, towers, dtype=tf.float64, steps=10, load=None, save=None):
    """Returns the variables of all replicas after `steps` updates, a list of {bare name: value}, and the last report.

    Every saved variable: weights, slots, averages, the step, S-OPT's W0 and subset, whose episodes end as in a run.
    `load` is a checkpoint to start from, `save` the prefix of one to write in the end.
    """
    dataset = synthetic.load(train=24, test=8)
    settings = program.resolve(settings, dataset)
    chosen = devices.choose("cpu", towers)
    with tf.Graph().as_default():
        training = problem.build(program.problem(settings, dataset), chosen.names, dtype)
        saved = [variables.saved(tower) for tower in range(towers)]
        saver = tf.train.Saver(saved[0])
        with chosen.session() as session:
            callbacks = program.callbacks(settings, session, training)
            session.run(tf.global_variables_initializer())
            for of_tower in saved if load else []:
                assert checkpoints.load(session, load, of_tower) == []
            for store in training.stores:
                store.fill(session)
            first, report = int(session.run(training.global_step)), None
            for step in range(first, first + steps):
                _, report = session.run([training.train_op, training.metrics])
                for callback in callbacks:
                    callback.after_step(step, {})
            if save:
                saver.save(session, save, write_meta_graph=False)
            names = [{variables.bare_name(variable.op.name): variable for variable in group} for group in saved]
            return session.run(names), report


def distance(values, others, least_scale=0.0):
    """Returns (the largest difference of any variable, which variable that is).

    Relative to the variable's largest number, or to `least_scale` if that is more; whole numbers are to be equal.
    """
    assert set(values) == set(others)
    return max((_relative(values[name], others[name], least_scale), name) for name in values)


def assert_one(copies):
    """All replicas hold the same, bit for bit."""
    for copy in copies[1:]:
        for name, value in copies[0].items():
            np.testing.assert_array_equal(copy[name], value, err_msg=name)


def _relative(value, other, least_scale):
    if not np.issubdtype(value.dtype, np.floating):
        return 0.0 if np.array_equal(value, other) else np.inf
    difference = np.abs(value.astype(float) - other).max()
    scale = max(np.abs(other).max(), least_scale)
    return float(difference / scale) if difference and scale else float(difference)
