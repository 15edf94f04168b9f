"""How tests begin a training, and what they read of what a run has left."""

import json

import numpy as np

from common.compat import tf


def begin(session, *stores):
    """Gives the variables their first values and stores their images."""
    session.run(tf.global_variables_initializer())
    for store in stores:
        store.fill(session)


def contents(checkpoint):
    """Returns {variable: value} of a checkpoint, or of the newest one of a folder."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def entries(path):
    """Returns the JSON objects of a file, which has one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics(folder):
    """Returns a run's metrics, one dict for each report and validation, without its speed."""
    lines = entries(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]


def assert_equal(actual, expected, hint=""):
    """The variables, and what each holds, are the same, bit for bit."""
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=f"{name} {hint}")
