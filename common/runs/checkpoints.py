"""Checkpoints: TensorFlow's own format, replica 0's names.

A checkpoint is called model.ckpt-STEP, STEP being the index of the last update done, counted from 0; global_step in it
is STEP + 1. It is read by name: any program's checkpoint with the same names loads, whatever the type of its numbers,
in TensorFlow's V1 format too.
"""

import contextlib
import os
import re

import numpy as np

from common import files
from common.compat import tf
from common.console import one_line
from common.graph import variables
from common.graph.variables import Role
from common.runs import checkpoint_files

NAME, LIST = files.CHECKPOINT, "checkpoint"
_PART = re.compile(re.escape(NAME) + r"-(\d+)(?:\.(?:index|sha256|data-\d{5}-of-\d{5}))?")
_LISTED = re.compile(r'^all_model_checkpoint_paths: ".*?' + re.escape(NAME) + r'-(\d+)"$', re.MULTILINE)
_GROUP = re.compile(r"^GROUP(\d+)_")  # of vgg
_SHOWN = 3  # variables named in an error


def listed(folder):
    """Returns the checkpoints of a folder, the oldest first, whether they are good or not.

    Their order is that of the file `checkpoint`. One that is not in it is the newest if its step is later than the
    last one's there (its saver was killed before it could list it), else the oldest. Without that file it is the order
    in which they were written.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = {int(match[1]) for name in names if (match := _PART.fullmatch(name))}
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
    return os.stat(checkpoint_files.paths(path)[-1]).st_mtime_ns if checkpoint_files.exists(path) else 0


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

    A name may have the ending of one of its files, and the list `checkpoint` means its folder. Raises ValueError if
    there is no checkpoint, or if the one that is named is damaged.
    """
    wanted, folder = "name a run folder or a model.ckpt-STEP", folder_of(path)
    if folder is not None:
        found = newest(folder, say)
        if found is None:
            raise ValueError(f"--load={path}: there is no checkpoint in this folder; {wanted}")
        return found
    prefix = checkpoint_files.prefix_of(path)
    if not checkpoint_files.exists(prefix):
        raise ValueError(f"--load={path}: there is no such checkpoint ({prefix}.index is not a file); {wanted}")
    if os.path.isfile(prefix + ".index"):
        fault = checkpoint_files.fault(prefix)
        if fault:
            raise ValueError(f"--load={path}: is damaged ({fault}); name another checkpoint, or its folder")
    elif fault := unreadable(prefix):
        raise ValueError(f"--load={path}: cannot be read as a checkpoint ({fault}); {wanted}")
    return prefix


def folder_of(path):
    """Returns the folder whose newest checkpoint `path` means, or None if it means one checkpoint."""
    if os.path.isdir(path):
        return path
    return os.path.dirname(path) or "." if os.path.basename(path) == LIST and os.path.isfile(path) else None


@contextlib.contextmanager
def _reader(path):
    """Yields TensorFlow's reader of a checkpoint, by a name that it does not take for a pattern."""
    endings = [part[len(path) :] for part in checkpoint_files.paths(path)]
    with files.for_tensorflow(path, endings) as name:
        yield tf.train.load_checkpoint(name)


def shapes(path):
    """Returns {name of a variable: its shape} of a checkpoint."""
    with _reader(path) as reader:
        return reader.get_variable_to_shape_map()


def unreadable(path):
    """Returns what keeps TensorFlow from reading a checkpoint whole, in one line, or None."""
    if not checkpoint_files.exists(path):
        return f"{os.path.basename(path)}.index is missing"
    try:
        with _reader(path) as reader:
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
    names = {variable: variables.bare_name(variable.op.name) for variable in [*needed, *optional]}
    fault = "cannot be read as a checkpoint"
    try:
        with _reader(path) as reader:
            shapes = reader.get_variable_to_shape_map()
            fault = "is damaged"
            there = _names(shapes, names.values())
            absent = [variable for variable in optional if names[variable] not in there]
            present = [variable for variable in names if variable not in absent]
            misfit = _misfit(present, names, {name: shapes[in_file] for name, in_file in there.items()})
            values = {} if misfit else {v: reader.get_tensor(there[names[v]]) for v in present}
    except Exception as error:  # a damaged file gives errors of many types
        raise ValueError(f"--load={path}: {fault} ({one_line(error)})") from None
    if misfit:
        raise ValueError(f"--load={path}: {misfit}")
    assign(session, values)
    return [variable.op.name for variable in absent]


def assign(session, values):
    """Gives variables values, {variable: array}."""
    # An initializer's input is fed: the variable takes the value without a new op in the finished graph.
    feeds = {
        variable.initializer.inputs[1]: np.asarray(value).astype(variable.dtype.base_dtype.as_numpy_dtype)
        for variable, value in values.items()
    }
    session.run([variable.initializer for variable in values], feeds)  # one call: each prepares the graph anew


def _names(shapes, wanted):
    """Returns {name of today: name in the file}.

    The first version of this project counted VGG's groups from 1, the original and today's from 0: a file that has
    GROUP5 and no GROUP0 is the first version's. Its slots, called VARIABLE/SLOT, follow their variables.
    """
    groups = {match[1] for name in shapes if (match := _GROUP.match(name))}
    if "5" in groups and "0" not in groups and any(name.startswith("GROUP0_") for name in wanted):
        return {_GROUP.sub(lambda match: f"GROUP{int(match[1]) - 1}_", name): name for name in shapes}
    return {name: name for name in shapes}


def model_variables(replica=0):
    """Returns what evaluation needs: all that was made by `variables.create` and is saved."""
    return variables.with_role(*(role for role in Role if role is not Role.DATA), replica=replica)


def _misfit(present, names, shapes):
    """Returns how the variables of a file differ from those of this network, or None."""
    faults = []
    for variable in present:
        name, expected = names[variable], variable.shape.as_list()
        if name not in shapes:
            faults.append(f"{name} {expected} is not in it")
        elif list(shapes[name]) != expected:
            faults.append(f"{name} is {list(shapes[name])} there and {expected} here")
    for name in _surplus(shapes, {names[variable] for variable in present}):
        faults.append(f"{name} {list(shapes[name])} is there and not here")
    if not faults:
        return None
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return (
        f"this checkpoint is of another network or data set: {'; '.join(faults[:_SHOWN])}{more}. "
        "Give the flags that it was trained with"
    )


def _surplus(shapes, known):
    """Names in the file that are neither `known` nor an optimizer's: slots, called VARIABLE/SLOT, and scalars."""
    return sorted(
        name for name, shape in shapes.items() if shape and name not in known and os.path.dirname(name) not in shapes
    )
