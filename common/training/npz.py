"""The form npz of --task=export: the numbers as NumPy's arrays, and the layers that use them as JSON.

NHWC, kernels [height, width, inputs, outputs], dense weights [inputs, outputs], all float32. The layers are read off a
dry run of the network's function (see common/nn/structure.py).
"""

import json
import os

import numpy as np

from common import files
from common.compat import tf
from common.nn.layers import Mode
from common.nn.structure import IMAGES, structure
from common.training import folding

ARRAYS, LAYERS = "model.npz", "model.json"
_STATISTICS = ("gamma", "beta", "mean", "variance")


class Npz:
    """A network as arrays and a list of layers.

    Args:
      problem: the `Problem` that was trained.
      parameters: its `Parameters`.
      fold: whether batch normalization goes into the weight and bias of the layer before it, where there is one.

    Raises ValueError if a number is not finite, or if the network has an operation that cannot be listed.
    """

    def __init__(self, problem, parameters, fold=False):
        size, shape = problem.pipeline.crop_size, problem.dataset.train_images.shape[1:]
        nodes = structure(
            problem.network, problem.dataset.classes, (size, size, shape[-1]), Mode(False, problem.batch_norm)
        )
        layers = [_entry(node, problem.batch_norm.epsilon) for node in nodes]
        values = {f"{scope}/weight": weight for scope, weight in parameters.weights.items()} | parameters.biases
        for scope, statistics in parameters.statistics.items():
            values |= {f"{scope}/{part}": value for part, value in zip(_STATISTICS, statistics)}
        if fold:
            weights, normalizations = parameters.folded(problem.batch_norm.epsilon)
            values |= {f"{scope}/weight": weight for scope, weight in weights.items()}
            layers = _folded(layers, parameters.before)
            values |= {f"{layer}/bias": normalizations[scope][1] for scope, layer in parameters.before.items()}
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            self._arrays = {name: np.asarray(values[name], np.float32) for name in _names(layers)}
        folding.check(self._arrays)
        self._about = {"folded": fold, "input": _input(problem.pipeline, shape), "layers": layers}
        self.summary = f"{len(layers)} layers, {len(self._arrays)} arrays"

    def write(self, folder, about):
        """Writes ARRAYS, and LAYERS with `about`."""
        os.makedirs(folder, exist_ok=True)
        np.savez(os.path.join(folder, ARRAYS), **self._arrays)
        files.replace(os.path.join(folder, LAYERS), f"{json.dumps({**about, **self._about}, indent=2)}\n")

    @staticmethod
    def read_back(folder, chosen, images, batch_size):
        """Returns what the two files in a folder give for uint8 images: scores and classes."""
        with open(os.path.join(folder, LAYERS), encoding="utf-8") as file:
            model = json.load(file)
        with np.load(os.path.join(folder, ARRAYS), allow_pickle=False) as file:
            arrays = dict(file)
        names = _names(model["layers"])
        if list(arrays) != names:
            raise ValueError(f"{ARRAYS} has other names than {LAYERS}: {sorted({*arrays} ^ {*names})}")
        with tf.Graph().as_default(), chosen.session() as session:
            fed = tf.placeholder(tf.uint8, [None, *images.shape[1:]])
            own = {name: tf.placeholder(tf.float32, array.shape) for name, array in arrays.items()}
            scores, values = _scores(model, own, fed), {own[name]: array for name, array in arrays.items()}
            parts = [
                session.run(scores, {fed: images[first : first + batch_size], **values})
                for first in range(0, len(images), batch_size)
            ]
        scores = np.concatenate(parts)
        return scores, np.argmax(scores, axis=-1)


def _entry(node, epsilon):
    """Returns what LAYERS says of a node; `arrays` are names in ARRAYS."""
    entry = {"name": node.name, "type": node.type, "inputs": list(node.inputs), "shape": list(node.shape)}
    if node.stride is not None:
        entry |= {"size": list(node.size), "stride": list(node.stride), "padding": list(node.padding)}
    parts = ()
    if node.type == "batch_norm":
        parts = _STATISTICS
        entry["epsilon"] = epsilon
    elif node.scope is not None:
        parts = ("weight", "bias") if node.biased else ("weight",)
    return {**entry, "arrays": {part: f"{node.scope}/{part}" for part in parts}}


def _names(layers):
    return [name for layer in layers for name in layer["arrays"].values()]


def _folded(layers, before):
    """Returns the layers without the batch normalizations folded into a layer before, which gets a bias."""
    kept, instead = {}, {}
    for layer in layers:
        inputs = [instead.get(name, name) for name in layer["inputs"]]
        scope = os.path.dirname(layer["arrays"].get("gamma", ""))
        if scope in before:
            (instead[layer["name"]],) = inputs
            kept[inputs[0]]["arrays"]["bias"] = f"{before[scope]}/bias"
        else:
            kept[layer["name"]] = {**layer, "inputs": inputs}
    return list(kept.values())


def _input(pipeline, shape):
    """Returns how a uint8 image [height, width, channels] becomes `IMAGES`: cropped, then (x - offset) / scale."""
    height, width, channels = shape
    size = pipeline.crop_size
    return {
        "name": IMAGES,
        "shape": list(map(int, shape)),
        "crop": {"top": (height - size) // 2, "left": (width - size) // 2, "height": size, "width": size},
        "offset": np.broadcast_to(pipeline.offset, [channels]).astype(float).tolist(),
        "scale": np.broadcast_to(pipeline.scale, [channels]).astype(float).tolist(),
    }


def _scores(model, arrays, images):
    """Returns the scores of uint8 images [batch, height, width, channels], as the two files say and nothing else."""
    given, crop = model["input"], model["input"]["crop"]
    top, left = crop["top"], crop["left"]
    images = tf.cast(images[:, top : top + crop["height"], left : left + crop["width"]], tf.float32)
    results = {given["name"]: (images - given["offset"]) / given["scale"]}
    for layer in model["layers"]:
        inputs = [results[name] for name in layer["inputs"]]
        own = {part: arrays[name] for part, name in layer["arrays"].items()}
        results[layer["name"]] = tf.ensure_shape(_TYPES[layer["type"]](layer, own, *inputs), [None, *layer["shape"]])
    return results[model["layers"][-1]["name"]]


def _conv(layer, own, inputs):
    outputs = tf.nn.conv2d(_padded(layer, inputs, 0.0), own["weight"], strides=layer["stride"], padding="VALID")
    return outputs + own["bias"] if "bias" in own else outputs


def _dense(layer, own, inputs):
    outputs = tf.matmul(inputs, own["weight"])
    return outputs + own["bias"] if "bias" in own else outputs


def _batch_norm(layer, own, inputs):
    return tf.nn.batch_normalization(inputs, own["mean"], own["variance"], own["beta"], own["gamma"], layer["epsilon"])


def _max_pool(layer, own, inputs):
    return tf.nn.max_pool2d(_padded(layer, inputs, tf.float32.min), layer["size"], layer["stride"], "VALID")


def _padded(layer, inputs, value):
    top, bottom, left, right = layer["padding"]
    return tf.pad(inputs, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)


_TYPES = {
    "conv": _conv,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "max_pool": _max_pool,
    "relu": lambda layer, own, inputs: tf.nn.relu(inputs),
    "add": lambda layer, own, inputs, others: inputs + others,
    "mean": lambda layer, own, inputs: tf.reduce_mean(inputs, axis=[1, 2]),
    "flatten": lambda layer, own, inputs: tf.reshape(inputs, [-1, *layer["shape"]]),
}
