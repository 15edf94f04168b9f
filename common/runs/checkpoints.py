"""Checkpoints: TensorFlow's own format, replica 0's names.

A checkpoint is called model.ckpt-STEP, STEP being the index of the last update done, counted from 0; global_step in it
is STEP + 1. It is read by name: any program's checkpoint with the same names loads, whatever the type of its numbers.
"""

import os
import re

import numpy as np

from common.compat import tf
from common.console import one_line
from common.graph import variables
from common.graph.variables import Role
from common.runs import checkpoint_files

NAME, LIST = "model.ckpt", "checkpoint"
_PART = re.compile(re.escape(NAME) + r"-(\d+)\.(?:index|sha256|data-\d{5}-of-\d{5})")
_LISTED = re.compile(r'^all_model_checkpoint_paths: ".*?' + re.escape(NAME) + r'-(\d+)"$', re.MULTILINE)
_SHOWN = 3  # variables named in an error


def listed(folder):
    """Returns the checkpoints of a folder, the oldest first, whether they are good or not.

    Their order is that of the file `checkpoint`. One that is not in it is the newest if its step is later than the
    last one's there (its saver was killed before it could list it), else the oldest. Without that file it is the order
    in which they were written.
    """
    steps = {
        int(match.group(1))
        for name in (os.listdir(folder) if os.path.isdir(folder) else [])
        if (match := _PART.fullmatch(name))
    }
    order = [step for step in _order(folder) if step in steps]
    if not order:
        return [_path(folder, step) for step in sorted(steps, key=lambda step: (_time(_path(folder, step)), step))]
    others = sorted(steps.difference(order))
    before = [step for step in others if step < order[-1]]
    return [_path(folder, step) for step in [*before, *order, *others[len(before) :]]]


def _order(folder):
    """Returns the steps that the file `checkpoint` lists, or none if there is no such file or it is damaged."""
    try:
        with open(os.path.join(folder, LIST), encoding="utf-8", errors="replace") as file:
            return list(dict.fromkeys(int(step) for step in _LISTED.findall(file.read())))
    except OSError:
        return []


def _path(folder, step):
    return os.path.join(folder, f"{NAME}-{step}")


def _time(path):
    return os.stat(path + ".index").st_mtime_ns if os.path.exists(path + ".index") else 0


def newest(folder, say=print):
    """Returns the newest good checkpoint of a folder, or None if there is none at all.

    A damaged one (by its checksums; without them, if TensorFlow cannot read it whole) is reported through `say`, a line
    each, and the one before it taken. Raises ValueError if all are damaged.
    """
    there = listed(folder)
    faults = []
    for path in reversed(there):
        fault = checkpoint_files.fault(path) if os.path.exists(path + checkpoint_files.ENDING) else unreadable(path)
        if fault is None:
            return path
        faults.append(f"{path} is damaged ({fault})")
        if len(faults) < len(there):
            say(f"{faults[-1]}; the one before it is taken")
    if faults:
        raise ValueError(f"none of the checkpoints in {folder} ({len(there)}) can be used: {faults[-1]}")
    return None


def find(path, say=print):
    """Returns the checkpoint that `path` means: itself, or the newest good one of a run folder (see `newest`).

    Raises ValueError if there is none, or if the one that is named has not its checksums.
    """
    if os.path.isdir(path):
        found = newest(path, say)
        if found is None:
            raise ValueError(
                f"--load={path}: there is no checkpoint in this folder; name a run folder or a model.ckpt-STEP"
            )
        return found
    for ending in (".index", ".data-00000-of-00001"):  # what a shell's completion leaves
        path = path.removesuffix(ending)
    if not os.path.isfile(path + ".index"):
        raise ValueError(
            f"--load={path}: there is no such checkpoint ({path}.index is not a file); "
            "name a run folder or a model.ckpt-STEP"
        )
    fault = checkpoint_files.fault(path)
    if fault:
        raise ValueError(f"--load={path}: is damaged ({fault}); name another checkpoint, or its folder")
    return path


def unreadable(path):
    """Returns what keeps TensorFlow from reading a checkpoint whole, in one line, or None."""
    if not os.path.exists(path + ".index"):
        return f"{os.path.basename(path)}.index is missing"
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # a damaged file gives errors of many types
        return one_line(error)
    return None


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
        reader = tf.train.load_checkpoint(path)
    except Exception as error:  # a damaged file gives errors of many types
        raise ValueError(f"--load={path}: cannot be read as a checkpoint ({one_line(error)})") from None
    shapes = reader.get_variable_to_shape_map()
    absent = [variable for variable in optional if variables.bare_name(variable.op.name) not in shapes]
    present = [*needed, *(variable for variable in optional if variable not in absent)]
    _check_fit(path, present, shapes)
    try:
        # An initializer's input is fed: the variable takes the value without a new op in the finished graph.
        values = {variable: reader.get_tensor(variables.bare_name(variable.op.name)) for variable in present}
    except Exception as error:
        raise ValueError(f"--load={path}: is damaged ({one_line(error)})") from None
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
