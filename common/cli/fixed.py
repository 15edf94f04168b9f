"""--fixed=SOURCE: where training begins at the kernels of a trained network (orthogonal fine-tuning).

A source is a run folder or checkpoint of an opt_ program, or what --export_format=npz has written. Its arrays have the
export's names: SCOPE/weight, SCOPE/bias, SCOPE/gamma, SCOPE/beta, SCOPE/mean and SCOPE/variance.
"""

import dataclasses
import json
import os
import re
import zipfile

import numpy as np

from common import flags
from common.cli import start
from common.command import CommandLine
from common.compat import tf
from common.console import one_line
from common.data.dataset import Dataset
from common.flags import FIXED, STEERS
from common.graph import variables
from common.graph.variables import Role
from common.nn.layers import Mode
from common.runs import checkpoints

_NPZ, _SHOWN = "model.npz", 8
_PARTS = {"pop_mean": "mean", "pop_var": "variance"}  # of a batch normalization, as the export names them
_ON_CPU = tf.ConfigProto(device_count={"GPU": 0})


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained network: {name: array}, its classes as `_listed` gives them, and where it is from."""

    arrays: dict
    classes: str
    path: str


def inputs_of(settings):
    """Returns, as JSON text, what the images and batch norms of --fixed go by, if not by the recipe's: {} if so.

    A run that goes on with --resume has noted it, and does not need its source.
    """
    path = settings.fixed
    noted = flags.parsed((flags.recorded_in(settings.train_path) if settings.resume else None) or "")
    if noted.get("fixed") == os.path.abspath(path) and "fixed_inputs" in noted:
        return noted["fixed_inputs"]
    file = _npz_of(path)
    if file is None:
        return flags.parsed(_flags_of(path)[0]).get("fixed_inputs", "{}")
    model = _model_of(file)
    epsilons = {layer["epsilon"] for layer in model["layers"] if "epsilon" in layer}
    if len(epsilons) != 1:
        raise ValueError(f"--fixed={path}: its batch norms have the epsilons {sorted(epsilons)}, expected one")
    return json.dumps({"epsilon": epsilons.pop(), **{name: model["input"][name] for name in ("offset", "scale")}})


def start_values(path, fresh_score, problem, of_replicas):
    """Returns ({variable: array}, lines): with which values a network begins at a source's.

    Args:
      path: the source.
      fresh_score: whether the last layer keeps its random values in any case.
      problem: the `Problem` to be trained.
      of_replicas: [{scope: `Kernel`}] of each replica.

    Raises ValueError, in one line, if the source cannot be read, or lacks a tensor or has one of another shape.
    """
    file = _npz_of(path)
    source = _from_npz(path, file) if file else _from_checkpoint(path, problem)
    layers = problem.plan().layers
    score, dataset = layers[-1].scope, problem.dataset
    count, own = np.shape(source.arrays.get(f"{score}/weight"))[-1:], _listed(dataset.class_names)
    same = count == (dataset.classes,) and (own == source.classes or not (own and source.classes))
    kept = same and not fresh_score
    values, seen, faults = {}, set(), []

    def take(name, shape):
        array = source.arrays.get(name)
        seen.add(name)
        if array is None or list(array.shape) != list(shape):
            there = "is not there" if array is None else f"is {list(array.shape)} there and {list(shape)} here"
            faults.append(f"{name} {there}")
            return None
        return array

    scratch = tf.Graph()
    for replica, of_layers in enumerate(of_replicas):
        for layer in layers if kept else layers[:-1]:
            array = take(f"{layer.scope}/weight", layer.shape)
            if array is not None:
                with scratch.as_default():
                    values |= problem.factory_of(layer).begin_at(of_layers[layer.scope].created, array)
        for variable in variables.with_role(Role.BIAS, Role.GAMMA, Role.BETA, Role.MOVING, replica=replica):
            name = _name_of(variable)
            if kept or os.path.dirname(name) != score:
                array = take(name, variable.shape.as_list())
                values |= {} if array is None else {variable: array}
    left = {name: array for name, array in source.arrays.items() if name not in seen}
    faults += [f"{name} is there and not here" for name in left if not _may_be_left(name, left[name], score)]
    if faults:
        faults = list(dict.fromkeys(faults))
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(f"--fixed={path} is of another network: {'; '.join(faults[:_SHOWN])}{more}")
    tensors = {variable: value for variable, value in values.items() if tf.is_tensor(value)}
    if tensors:  # none are rotated with --rotation=none, and an empty graph cannot be run
        with tf.Session(graph=scratch, config=_ON_CPU) as session:
            values |= zip(tensors, session.run(list(tensors.values())))
    why = "kept" if kept else "made afresh, as --fresh_score says" if same else "made afresh: its classes are others"
    return values, [f"begins at the kernels of {source.path}; {score}, the class scores, is {why}"]


def _may_be_left(name, array, score):
    """A score that is made afresh, and scales of 1 where batch norm has none here."""
    return os.path.dirname(name) == score or (name.endswith("/gamma") and bool(np.all(array == 1)))


def _name_of(variable):
    scope, part = os.path.split(variables.bare_name(variable.op.name))
    return f"{scope}/{_PARTS.get(part, variables.role_of(variable).value)}"


def _listed(names):
    """Returns the names of classes in one line, as a log has them."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))


# --- arrays of an export ---


def _npz_of(path):
    """Returns the .npz file that a source is, or None."""
    inner = os.path.join(path, _NPZ)
    return inner if os.path.isfile(inner) else path if path.endswith(".npz") else None


def _model_of(file):
    path = f"{file[: -len('.npz')]}.json"
    try:
        with open(path, encoding="utf-8") as text:
            model = json.load(text)
        wanted = model["folded"], model["layers"], model["input"]["offset"], model["input"]["scale"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--fixed={file}: {path} beside it is not that of an export ({one_line(error)})") from None
    if wanted[0]:
        raise ValueError(f"--fixed={file} has its batch norms folded; export it without --fold")
    return model


def _from_npz(path, file):
    model = _model_of(file)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"--fixed={path}: {file} cannot be read ({one_line(error)})") from None
    return Source(_finite(path, found), _listed(model.get("class_names", ())), file)


def _finite(path, arrays):
    bad = [name for name, array in arrays.items() if array.dtype.kind != "f" or not np.all(np.isfinite(array))]
    if bad:
        raise ValueError(f"--fixed={path}: {bad[0]} has numbers that are not finite floats")
    return arrays


# --- checkpoints ---


def _flags_of(path):
    """Returns (flags.txt of a run, the checkpoint that `path` means)."""
    try:
        checkpoint = checkpoints.find(path)
    except ValueError as error:
        raise ValueError(str(error).replace("--load=", "--fixed=")) from None
    text = flags.recorded_in(os.path.dirname(checkpoint))
    if text is None:
        raise ValueError(f"--fixed={path}: there is no flags.txt beside {checkpoint}; its network is not known")
    return text, checkpoint


def _from_checkpoint(path, problem):
    """Returns the source of a run, whose program computes its kernels."""
    text, checkpoint = _flags_of(path)
    folder = text.partition("\n")[0].removeprefix("#").strip().partition("-")[0]
    module = start.train_modules().get(folder)
    program = module.method() if module else None
    if not hasattr(program, "factory_of"):
        raise ValueError(f"--fixed={path} was trained by {folder or 'nobody knows what'}, expected an opt_ program")
    made = module.Settings.names(FIXED, STEERS)
    words = [f"--{name}={value}" for name, value in flags.parsed(text).items() if name in made]
    settings = CommandLine(module.Settings, words).settings()
    shapes = checkpoints.shapes(checkpoint)

    def of_classes(classes):
        blank, none = np.zeros([1, *problem.dataset.train_images.shape[1:]], np.uint8), np.zeros(1, np.int32)
        return program.problem(settings, Dataset(settings.data, classes, blank, none, blank, none, False))

    score = of_classes(1).plan().layers[-1]
    source = of_classes(shapes.get(f"{score.scope}/{score.name}", [problem.dataset.classes])[-1])
    with tf.Graph().as_default(), tf.Session(config=_ON_CPU) as session:
        size, channels = source.pipeline.crop_size, source.dataset.train_images.shape[-1]
        variables.global_step()
        of_layers = {scope: kernel.tensor for scope, kernel in source.kernels().items()}
        source.logits(tf.placeholder(tf.float32, [1, size, size, channels]), of_layers, Mode(False, source.batch_norm))
        session.run(tf.global_variables_initializer())
        try:
            checkpoints.load(session, checkpoint, checkpoints.model_variables())
        except ValueError as error:
            raise ValueError(str(error).replace("--load=", "--fixed=")) from None
        others = variables.with_role(Role.BIAS, Role.GAMMA, Role.BETA, Role.MOVING)
        arrays = {f"{scope}/weight": tensor for scope, tensor in of_layers.items()}
        arrays = session.run(arrays | {_name_of(variable): variable for variable in others})
    return Source(_finite(path, arrays), _classes_in_log(os.path.dirname(checkpoint)), checkpoint)


def _classes_in_log(folder):
    try:
        with open(os.path.join(folder, "log.txt"), encoding="utf-8", errors="replace") as log:
            found = re.search(r"classes: (0 .*)", log.read())
    except FileNotFoundError:
        return ""
    return found[1].strip() if found else ""
