"""Checkpoints: TensorFlow's own format, replica 0's names.

A checkpoint is called model.ckpt-STEP, STEP being the index of the last update done, counted from 0; global_step in it
is STEP + 1. It is read by name: any program's checkpoint with the same names loads, whatever the type of its numbers.
"""

import os
import re

import numpy as np

from common import variables
from common.compat import tf
from common.training import checkpoint_index
from common.variables import Role

_NAME = "model.ckpt"
_SHOWN = 3  # variables named in an error


class Keeper:
    """Saves the variables of replica 0 into a run folder, the newest `max_to_keep` of them.

    Built when the graph is complete: it saves what then exists, optimizer slots included. Checkpoints that are in the
    folder already, of a run that goes on, count. The folder may be moved as a whole.
    """

    def __init__(self, folder, max_to_keep):
        self._prefix = os.path.join(folder, _NAME)
        self._saver = tf.train.Saver(
            {v.op.name: v for v in variables.saved()}, max_to_keep=max_to_keep, save_relative_paths=True
        )
        self._saver.set_last_checkpoints_with_time([(path, os.path.getmtime(path + ".index")) for path in _in(folder)])

    def save(self, session, step):
        """Writes model.ckpt-`step` and returns its path."""
        return self._saver.save(session, self._prefix, global_step=step, write_meta_graph=False)


def _in(folder):
    """Returns the checkpoints in a folder, those of the earliest steps first."""
    numbers = [
        int(match.group(1))
        for name in (os.listdir(folder) if os.path.isdir(folder) else [])
        if (match := re.fullmatch(re.escape(_NAME) + r"-(\d+)\.index", name))
    ]
    return [os.path.join(folder, f"{_NAME}-{number}") for number in sorted(numbers)]


def find(path):
    """Returns the checkpoint that `path` means: itself, or the newest of a run folder. ValueError if there is none."""
    if os.path.isdir(path):
        there = _in(path)
        if not there:
            raise ValueError(
                f"--load={path}: there is no checkpoint in this folder; name a run folder or a model.ckpt-STEP"
            )
        return max(there, key=lambda checkpoint: os.path.getmtime(checkpoint + ".index"))
    for ending in (".index", ".data-00000-of-00001"):  # what a shell's completion leaves
        path = path.removesuffix(ending)
    if not os.path.isfile(path + ".index"):
        raise ValueError(
            f"--load={path}: there is no such checkpoint ({path}.index is not a file); "
            "name a run folder or a model.ckpt-STEP"
        )
    return path


def load(session, path, needed, optional=()):
    """Gives variables the values of a checkpoint, on all replicas.

    Args:
      session: with all variables initialized.
      path: a checkpoint.
      needed: the network's variables, all of which must be in it, with their shapes.
      optional: variables that keep their start value if they are not in it.

    Returns the names of the optional variables that were not there. Raises ValueError if the file cannot be read, or,
    naming the first ones, if a variable is missing, has another shape, or is one of a network that has more of them;
    then nothing has been changed.
    """
    try:
        checkpoint_index.check(path)
        reader = tf.train.load_checkpoint(path)
    except Exception as error:  # a damaged file gives errors of many types
        raise ValueError(f"--load={path}: cannot be read as a checkpoint ({_first_line(error)})") from None
    shapes = reader.get_variable_to_shape_map()
    absent = [variable for variable in optional if variables.bare_name(variable.op.name) not in shapes]
    present = [*needed, *(variable for variable in optional if variable not in absent)]
    _check_fit(path, present, shapes)
    try:
        # An initializer's input is fed: the variable takes the value without a new op in the finished graph.
        values = {variable: reader.get_tensor(variables.bare_name(variable.op.name)) for variable in present}
    except Exception as error:
        raise ValueError(f"--load={path}: is damaged ({_first_line(error)})") from None
    feeds = {
        variable.initializer.inputs[1]: np.asarray(value).astype(variable.dtype.base_dtype.as_numpy_dtype)
        for variable, value in values.items()
    }
    session.run([variable.initializer for variable in present], feeds)  # one call: each prepares the graph anew
    return [variable.op.name for variable in absent]


def model_variables(replica=0):
    """Returns what evaluation needs: all that was made by `variables.create` and is saved."""
    return variables.with_role(*(role for role in Role if role is not Role.DATA), replica=replica)


def _check_fit(path, present, shapes):
    faults = []
    for variable in present:
        name, expected = variables.bare_name(variable.op.name), variable.shape.as_list()
        if name not in shapes:
            faults.append(f"{name} {expected} is not in it")
        elif list(shapes[name]) != expected:
            faults.append(f"{name} is {list(shapes[name])} there and {expected} here")
    for name in _surplus(shapes, {variables.bare_name(variable.op.name) for variable in present}):
        faults.append(f"{name} {list(shapes[name])} is there and not here")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(
            f"--load={path}: this checkpoint is of another network or data set: {'; '.join(faults[:_SHOWN])}{more}. "
            "Give the flags that it was trained with"
        )


def _surplus(shapes, known):
    """Names in the file that are neither `known` nor an optimizer's: slots, called VARIABLE/SLOT, and scalars."""
    return sorted(
        name for name, shape in shapes.items() if shape and name not in known and os.path.dirname(name) not in shapes
    )


def _first_line(error):
    return str(getattr(error, "message", error)).splitlines()[0]
