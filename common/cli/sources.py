"""What --fixed=SOURCE may name: a run folder or checkpoint of an opt_ program, or what --export_format=npz has written.

Arrays have the export's names: SCOPE/weight, SCOPE/bias, SCOPE/gamma, SCOPE/beta, SCOPE/mean and SCOPE/variance.
"""

import contextlib
import dataclasses
import json
import os
import re

import numpy as np

from common import files, flags
from common.cli import start
from common.command import CommandLine
from common.compat import tf
from common.console import one_line
from common.data.dataset import Dataset, listed
from common.flags import REFUSED, STEERS
from common.graph import variables
from common.graph.variables import Role
from common.nn.layers import Mode
from common.runs import checkpoints

_NPZ = "model.npz"
_PARTS = {"pop_mean": "mean", "pop_var": "variance"}  # of a batch normalization, as the export names them
_NOT_OF_NETWORK = ("data", "fixed", "fresh_score", "fixed_inputs")  # flags of a run that its kernels do not need
ON_CPU = tf.ConfigProto(device_count={"GPU": 0})


@dataclasses.dataclass(frozen=True)
class Source:
    """A trained network: {name: array}, its classes as `dataset.listed` gives them, and where it is from."""

    arrays: dict
    classes: str
    path: str


def read(path, dataset):
    """Returns the `Source` that `path` means, of a network for images of the size that a `Dataset` has.

    Raises ValueError, in one line, if it cannot be read.
    """
    file = _npz_of(path)
    return _from_npz(path, file) if file else _from_checkpoint(path, dataset)


def inputs(path):
    """Returns {"epsilon" of batch norm, "offset" and "scale" of images} of a source, {} if they are the recipe's."""
    file = _npz_of(path)
    if file is None:
        return json.loads(flags_of(path).get("fixed_inputs", "{}"))
    model = _model_of(file)
    epsilons = {layer["epsilon"] for layer in model["layers"] if "epsilon" in layer}
    if len(epsilons) != 1:
        raise ValueError(f"--fixed={path}: its batch norms have the epsilons {sorted(epsilons)}, expected one")
    return {"epsilon": epsilons.pop(), **{name: model["input"][name] for name in ("offset", "scale")}}


def flags_of(path):
    """Returns {name: text} of the flags of a source that is a run; {} of an export."""
    return {} if _npz_of(path) else flags.parsed(_recorded(path))


def name_of(variable):
    """Returns how the export calls a variable of a bias or batch norm."""
    scope, part = os.path.split(variables.bare_name(variable.op.name))
    return f"{scope}/{_PARTS.get(part, variables.role_of(variable).value)}"


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
    except Exception as error:  # whatever damage makes NumPy and zlib raise
        raise ValueError(f"--fixed={path}: {file} cannot be read ({one_line(error)})") from None
    return Source(_finite(path, found), listed(model.get("class_names", ())), file)


def _finite(path, arrays):
    bad = [name for name, array in arrays.items() if array.dtype.kind != "f" or not np.all(np.isfinite(array))]
    if bad:
        raise ValueError(f"--fixed={path}: {bad[0]} has numbers that are not finite floats")
    return arrays


# --- checkpoints ---


@contextlib.contextmanager
def _told_of_fixed():
    """Errors of checkpoints speak of --load."""
    try:
        yield
    except ValueError as error:
        message = str(error).replace("--load=", "--fixed=").removesuffix("Give the flags that it was trained with")
        raise ValueError(message.rstrip(". ")) from None


def _checkpoint(path):
    """Returns the checkpoint that `path` means, whose sums are right."""
    with _told_of_fixed():
        return checkpoints.find(path)


def _recorded(path):
    """Returns the flags.txt of a run."""
    text = flags.recorded_in(files.run_of(path))
    if text is None:
        raise ValueError(f"--fixed={path}: there is no flags.txt beside {_checkpoint(path)}; its network is not known")
    return text


def _from_checkpoint(path, dataset):
    """Returns the source of a run, whose program computes its kernels."""
    text, checkpoint = _recorded(path), _checkpoint(path)
    folder = (flags.method_in(text) or "").partition("-")[0]
    module = start.train_modules().get(folder)
    program = module.method() if module else None
    if not hasattr(program, "factory_of"):
        raise ValueError(f"--fixed={path} was trained by {folder or 'nobody knows what'}, expected an opt_ program")
    words = flags.words(text, {*module.Settings.names(REFUSED, STEERS)}.difference(_NOT_OF_NETWORK))
    try:
        settings = CommandLine(module.Settings, [*words, "--data=synthetic"]).settings()
    except ValueError as error:
        raise ValueError(f"--fixed={path}: the flags.txt of that run has {error}") from None
    shapes = checkpoints.shapes(checkpoint)

    def of_classes(classes):
        blank, none = np.zeros([1, *dataset.train_images.shape[1:]], np.uint8), np.zeros(1, np.int32)
        return program.problem(settings, Dataset("synthetic", classes, blank, none, blank, none, False))

    score = of_classes(1).plan().layers[-1]
    source = of_classes(shapes.get(f"{score.scope}/{score.name}", [dataset.classes])[-1])
    with tf.Graph().as_default(), tf.Session(config=ON_CPU) as session:
        size, channels = source.pipeline.crop_size, source.dataset.train_images.shape[-1]
        variables.global_step()
        of_layers = {scope: kernel.tensor for scope, kernel in source.kernels().items()}
        source.logits(tf.placeholder(tf.float32, [1, size, size, channels]), of_layers, Mode(False, source.batch_norm))
        session.run(tf.global_variables_initializer())
        with _told_of_fixed():
            checkpoints.load(session, checkpoint, checkpoints.model_variables())
        others = variables.with_role(Role.BIAS, Role.GAMMA, Role.BETA, Role.MOVING)
        arrays = {f"{scope}/weight": tensor for scope, tensor in of_layers.items()}
        arrays = session.run(arrays | {name_of(variable): variable for variable in others})
    classes = flags.classes(text) or _classes_in_log(os.path.dirname(checkpoint))
    return Source(_finite(path, arrays), classes, checkpoint)


def _classes_in_log(folder):
    """Returns the classes of a run whose flags.txt does not list them."""
    try:
        with open(os.path.join(folder, "log.txt"), encoding="utf-8", errors="replace") as log:
            found = re.search(r"classes: (0 .*)", log.read())
    except FileNotFoundError:
        return ""
    return found[1].strip() if found else ""
