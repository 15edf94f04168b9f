"""--fixed=SOURCE: training begins at the kernels of a trained network (orthogonal fine-tuning); see sources.py."""

import json
import os

import numpy as np

from common import flags
from common.cli import sources
from common.compat import tf
from common.data.dataset import listed
from common.graph import variables
from common.graph.variables import Role
from common.runs import resume

_SHOWN = 8  # tensors named in an error
_INPUTS = {"epsilon": [()], "offset": [(), (1,), (3,)], "scale": [(), (1,), (3,)]}  # and the shapes that they may have


def inputs_of(settings):
    """Returns, as JSON text, what the images and batch norms of --fixed go by, if not by the recipe's: {} if so.

    A run whose checkpoint is loaded has noted it, and its source is not needed. Raises ValueError if another run's
    checkpoint is loaded: it and the source are two beginnings.
    """
    noted = _noted(settings)
    if "fixed_inputs" in noted:
        return _checked(noted["fixed_inputs"])
    if settings.load is None:
        return _checked(json.dumps(sources.inputs(settings.fixed)))
    if settings.fixed_inputs is not None:
        return _checked(settings.fixed_inputs)
    raise ValueError(
        f"--fixed={settings.fixed} and --load={settings.load} are two beginnings: leave out --load to begin at the "
        "kernels of the one, or --fixed to go on from the other"
    )


def widths_of(settings):
    """Returns the widths of CNN-6 or CNN-9 that the source of --fixed has, or None; a run has noted them."""
    made = _noted(settings) or sources.flags_of(settings.fixed)
    text = made.get("widths") if made.get("model") == settings.model else None
    return tuple(map(int, text.split(","))) if text else None


def _noted(settings):
    """Returns {name: text} of the flags of the run that goes on, if it began at this source; else {}."""
    noted = flags.parsed(resume.begun_by(settings) or "")
    return noted if noted.get("fixed") == os.path.abspath(settings.fixed) else {}


def _checked(text):
    """Returns the JSON text, or raises ValueError."""
    try:
        given = json.loads(text)
        arrays = {name: np.asarray(value) for name, value in given.items()}
        right = all(array.dtype.kind in "if" and array.shape in _INPUTS[name] for name, array in arrays.items())
        right = right and all(np.all(np.isfinite(array)) for array in arrays.values())
        right = right and all(np.all(array > 0) for name, array in arrays.items() if name != "offset")
    except (ValueError, TypeError, KeyError, AttributeError):
        right = False
    if not right:
        wanted = '{"epsilon": 0.001, "offset": [1, 2, 3], "scale": [1, 2, 3]} with numbers above 0 but for the offset'
        raise ValueError(f"--fixed_inputs={text[:200]}: expected JSON as {wanted}")
    return text


def start_values(path, fresh_score, problem, of_replicas):
    """Returns ({variable: array}, lines): with which values a network begins at a source's.

    Args:
      path: the source.
      fresh_score: whether the last layer keeps its random values in any case.
      problem: the `Problem` to be trained.
      of_replicas: [{scope: `Kernel`}] of each replica.

    Raises ValueError, in one line, if the source cannot be read, or lacks a tensor or has one of another shape.
    """
    source, layers, dataset = sources.read(path, problem.dataset), problem.plan().layers, problem.dataset
    arrays, score = source.arrays, layers[-1].scope
    count, own = np.shape(arrays.get(f"{score}/weight"))[-1:], listed(dataset.class_names)
    same = count == (dataset.classes,) and (own == source.classes or not (own and source.classes))
    kept = same and not fresh_score
    begun = layers if kept else layers[:-1]
    others = {
        variable: sources.name_of(variable)
        for replica in range(len(of_replicas))
        for variable in variables.with_role(Role.BIAS, Role.GAMMA, Role.BETA, Role.MOVING, replica=replica)
    }
    others = {variable: name for variable, name in others.items() if kept or os.path.dirname(name) != score}
    wanted = {f"{layer.scope}/weight": layer.shape for layer in begun}
    wanted |= {name: variable.shape.as_list() for variable, name in others.items()}
    _check_tensors(path, arrays, wanted, score)
    values = {variable: arrays[name] for variable, name in others.items()}
    with tf.Graph().as_default() as scratch:
        for of_layers in of_replicas:
            for layer in begun:
                created = of_layers[layer.scope].created
                values |= problem.factory_of(layer).begin_at(created, arrays[f"{layer.scope}/weight"])
    tensors = {variable: value for variable, value in values.items() if tf.is_tensor(value)}
    if tensors:  # none are rotated with --rotation=none, and an empty graph cannot be run
        with tf.Session(graph=scratch, config=sources.ON_CPU) as session:
            values |= session.run(tensors)
    why = "kept" if kept else "made afresh, as --fresh_score says" if same else "made afresh: its classes are others"
    return values, [f"begins at the kernels of {source.path}; {score}, the class scores, is {why}"]


def _check_tensors(path, arrays, wanted, score):
    """Raises ValueError if the arrays of a source are not those `wanted`, {name: shape}.

    Two may be there besides: a score that is made afresh, and scales of 1 where batch norm has none here.
    """
    faults = []
    for name, shape in wanted.items():
        if name not in arrays:
            faults.append(f"{name} is not there")
        elif list(arrays[name].shape) != list(shape):
            faults.append(f"{name} is {list(arrays[name].shape)} there and {list(shape)} here")
    for name, array in arrays.items():
        unused = os.path.dirname(name) == score or (name.endswith("/gamma") and np.all(array == 1))
        if name not in wanted and not unused:
            faults.append(f"{name} is there and not here")
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(f"--fixed={path} is of another network: {'; '.join(faults[:_SHOWN])}{more}; give the source's "
                         "--model, and its --widths or --depth and --widen_factor")
