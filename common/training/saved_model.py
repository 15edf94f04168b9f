"""The form saved_model of --task=export: a TensorFlow SavedModel, which needs nothing of this project to run.

The network's function is called once more, with the numbers: there is no second definition of it. They are constants
of the graph, not variables: the file is complete without a restoring step that could be left out, nothing in it can be
changed by running it, and TensorFlow may arrange the weights for the device once. The price is the 2 GB that a graph
may have: 500 million weights, fourteen times WRN-28-10.
"""

import json
import os

import numpy as np

from common import files
from common.compat import tf
from common.data import batches
from common.nn.layers import Mode
from common.training import folding

ABOUT = os.path.join("assets.extra", "model.json")
OUTPUTS = {
    "scores": "float32 [batch, classes]: the network's last layer (logits)",
    "probabilities": "float32 [batch, classes]: softmax of the scores",
    "class": "int64 [batch]: the number of the largest score, of equal ones the first",
}
_LARGEST_BYTES = 2_000_000_000


class SavedModel:
    """A network whose numbers are constants, batch normalization folded.

    Args:
      problem: the `Problem` that was trained.
      parameters: its `Parameters`. Raises ValueError if one is not finite, or if there are too many.
    """

    def __init__(self, problem, parameters):
        weights, normalizations = parameters.folded(problem.batch_norm.epsilon)
        check(weights, parameters.biases, normalizations)
        self._shape = problem.dataset.train_images.shape[1:]
        self._graph = build(problem, weights, parameters.biases, normalizations)
        self.summary = f"{len(self._graph.get_operations())} nodes"

    def write(self, folder, about):
        """Writes the SavedModel, and `about` beside it as JSON."""
        _write(self._graph, folder, self._shape)
        inputs = {"images": f"uint8 [batch, {', '.join(map(str, self._shape))}], as in the files"}
        path, about = os.path.join(folder, ABOUT), {**about, "inputs": inputs, "outputs": OUTPUTS}
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.replace(path, f"{json.dumps(about, indent=2)}\n")

    @staticmethod
    def read_back(folder, chosen, images, batch_size):
        """Returns what the SavedModel in a folder gives for images: scores and classes."""
        with tf.Graph().as_default(), chosen.session() as session:
            model = tf.saved_model.loader.load(session, [tf.saved_model.SERVING], folder)
            signature = model.signature_def[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
            fetched = [signature.outputs[name].name for name in ("scores", "class")]
            fed = signature.inputs["images"].name
            parts = [
                session.run(fetched, {fed: images[first : first + batch_size]})
                for first in range(0, len(images), batch_size)
            ]
        return tuple(np.concatenate(part) for part in zip(*parts))


def check(weights, biases, normalizations):
    """Raises ValueError if a number is not finite or if there are too many."""
    arrays = {**weights, **biases}
    for scope, (scale, shift) in normalizations.items():
        arrays[scope] = shift if scale is None else np.stack([scale, shift])
    count = sum(array.size for array in arrays.values())
    if 4 * count > _LARGEST_BYTES:
        raise ValueError(f"the network has {count} weights; a graph may hold {_LARGEST_BYTES // 4}")
    folding.check(arrays)


def build(problem, weights, biases, normalizations):
    """Returns the graph that computes OUTPUTS from uint8 `images` [batch, height, width, channels], any batch size.

    Images of another shape are an error when the graph runs. The placeholder has no shape: callers would not be
    held to one, and TensorFlow would take the check for a constant.
    """

    def constant(getter, name, **options):
        """Stands in for get_variable: only biases are variables that a network makes here."""
        return tf.constant(biases[name], tf.float32)

    mode = Mode(False, problem.batch_norm, folded=normalizations)
    with tf.Graph().as_default() as graph:
        shape = problem.dataset.train_images.shape[1:]
        images = tf.placeholder(tf.uint8, name="images")
        kernels = {scope: tf.constant(weight, tf.float32) for scope, weight in weights.items()}
        with tf.variable_scope("", custom_getter=constant):
            logits = problem.logits(batches.inputs_of(_checked(images, shape), problem.pipeline), kernels, mode)
        logits = tf.ensure_shape(logits[: tf.shape(images)[0]], [None, problem.dataset.classes])
        tf.identity(logits, "scores")
        tf.nn.softmax(logits, name="probabilities")
        tf.argmax(logits, axis=-1, name="class")
        definition = graph.as_graph_def()
    with tf.Graph().as_default() as clean:  # without collections, which name layers of this program
        tf.import_graph_def(definition, name="")
    return clean


def _write(graph, folder, shape):
    builder = tf.saved_model.Builder(folder)
    signature = tf.saved_model.predict_signature_def(
        {"images": graph.get_tensor_by_name("images:0")},
        {name: graph.get_tensor_by_name(f"{name}:0") for name in OUTPUTS},
    )
    signature.inputs["images"].tensor_shape.CopyFrom(tf.TensorShape([None, *shape]).as_proto())
    with tf.Session(graph=graph) as session:
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.SERVING], {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature}
        )
    builder.save()


def _checked(images, shape):
    """Returns images, once they are seen to be [batch, *shape]; one black image in place of none.

    TensorFlow's fused convolutions on CPUs mistake the shapes of empty batches.
    """
    expected = f"images: expected [batch, {', '.join(map(str, shape))}], uint8; their shape is"
    # A shape of another length cannot be compared number by number, so the first four are, filled up.
    batch, *sides = tf.unstack(tf.pad(tf.shape(images), [[0, 4]])[:4], 4)
    right = tf.equal(tf.rank(images), 4) & tf.reduce_all(tf.equal(sides, shape))
    with tf.control_dependencies([tf.Assert(right, [expected, tf.shape(images)], summarize=5)]):
        images = tf.reshape(images, [-1, *shape])
    return tf.pad(images, [[0, tf.cast(tf.equal(batch, 0), tf.int32)], [0, 0], [0, 0], [0, 0]])
