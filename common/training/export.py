"""--task=export: a network as a TensorFlow SavedModel, which needs nothing of this project to run."""

import contextlib
import json
import os
import tempfile

import numpy as np

from common import files
from common.compat import tf
from common.graph import variables
from common.runs import checkpoints
from common.training.evaluation import Evaluation
from common.training.folding import OUTPUTS, build, fold

ABOUT = os.path.join("assets.extra", "model.json")
_TOLERANCE = 1e-3  # of scores, relative to the largest: what rounding does is a hundred times smaller


def check_place(task, path):
    """Raises ValueError, before anything is read, unless a task may make the folder `path`."""
    if task != "export":
        raise ValueError(f"--export_dir={path} goes with --task=export, not with --task={task}")
    if path is None:
        raise ValueError("--task=export needs --export_dir=FOLDER, a new folder for the SavedModel")
    if os.path.isdir(path) and os.listdir(path):
        raise ValueError(f"--export_dir={path} is there and not empty; name a new folder, or empty this one")
    there = os.path.abspath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ValueError(f"--export_dir={path}: {there} is not a folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--export_dir={path}: {there} cannot be written to; name another place")


def export(problem, chosen, checkpoint, path, about):
    """Writes the SavedModel of a checkpoint and yields lines that say what was done.

    Args:
      problem: the `Problem` that was trained.
      chosen: `Devices`, for the evaluation.
      checkpoint: whose numbers are exported.
      path: the folder to make; it is there only when everything is in it and has been read back: the exported network
        has then classified the whole test set.
      about: what is to be told in assets.extra/model.json, besides what follows from the above.

    Raises ValueError if the checkpoint holds numbers that are not finite, if the network is too large, and if the
    exported network does not compute what the evaluation does.
    """
    scores, part = [], problem.dataset.parts()[-1]
    evaluation = Evaluation(problem, part=part)
    with chosen.session() as session:
        session.run(tf.global_variables_initializer())
        evaluation.store.fill(session)
        checkpoints.load(session, checkpoint, checkpoints.model_variables())
        figures = evaluation.figures(session, scores=scores)
        parameters = fold(session, evaluation.kernels, problem.batch_norm.epsilon)
        updates = int(session.run(variables.global_step()))
    try:
        parameters.check()
    except ValueError as error:
        raise ValueError(f"--load={checkpoint}: {error}") from None
    graph, images = build(problem, parameters), part.images
    with _whole_or_absent(path) as folder:
        _write(graph, folder, images.shape[1:])
        with open(_made(folder, ABOUT), "w", encoding="utf-8") as file:
            json.dump(_about(problem, checkpoint, updates, figures, about), file, indent=2)
            file.write("\n")
        written, classes = _read_back(folder, chosen, images, problem.vali_batch_size)
        difference = float(np.abs(written - scores[0]).max())
        if difference > _TOLERANCE * max(1.0, float(np.abs(scores[0]).max())):
            raise ValueError(f"exported scores differ by {difference:.1e} from the evaluation's; {path} is not written")
    wrong = 100.0 * float(np.mean(classes != part.labels))
    yield f"{checkpoint}: {figures}"
    yield (
        f"exported to {path}: err = {wrong:.4f} % on the same {len(images)} {part.split} images, scores differ by at "
        f"most {difference:.1e}; {len(graph.get_operations())} nodes"
    )


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


def _about(problem, checkpoint, updates, figures, about):
    dataset, part = problem.dataset, problem.dataset.parts()[-1]
    return {
        **about,
        "data": dataset.name,
        "classes": dataset.classes,
        **({"class_names": dataset.class_names} if dataset.class_names else {}),
        "checkpoint": os.path.basename(checkpoint),
        "updates": updates,
        part.split: {
            "images": len(part.images),
            "error_percent": 100 * figures.error,
            f"error_{figures.k}_percent": 100 * figures.error_k,
            "cross_entropy": figures.cross_entropy,
        },
        "inputs": {"images": f"uint8 [batch, {', '.join(map(str, part.images.shape[1:]))}], as in the files"},
        "outputs": OUTPUTS,
    }


def _read_back(folder, chosen, images, batch_size):
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


@contextlib.contextmanager
def _whole_or_absent(path):
    """Yields a folder beside `path` that becomes it when all has gone well, and else is removed."""
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{os.path.basename(path)}.", dir=os.path.dirname(path)) as parent:
        work = os.path.join(parent, "whole")
        yield work
        for folder, _, names in os.walk(work):
            for name in names:
                files.sync(os.path.join(folder, name))
            files.sync(folder)
        if os.path.isdir(path):
            os.rmdir(path)
        os.rename(work, path)
        files.sync(os.path.dirname(path))


def _made(folder, name):
    """Returns the path of a file in a folder, and makes the folders on the way."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path
