"""--task=export: a network without maps, in one of two forms, in a folder that is whole or absent."""

import contextlib
import functools
import os
import tempfile

import numpy as np

from common import files
from common.graph import variables
from common.training.evaluation import opened
from common.training.folding import read
from common.training.npz import Npz
from common.training.saved_model import SavedModel

_TOLERANCE = 1e-3  # of scores, relative to the largest: what rounding does is a hundred times smaller


def check_folder(task, path):
    """Raises ValueError, before anything is read, unless a task may make the folder `path`."""
    if task != "export":
        raise ValueError(f"--export_dir={path} goes with --task=export, not with --task={task}")
    if path is None:
        raise ValueError("--task=export needs --export_dir=FOLDER, a new folder for what is exported")
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise ValueError(f"--export_dir={path} is there and no empty folder; name a new folder, or empty this one")
    there = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    try:
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        fault = f"cannot write to {there}: {error.strerror}"
        raise ValueError(f"--export_dir={path}: {fault}; name another place") from None


def form_of(export_format, fold):
    """Returns the `form` that `export` takes for the flags --export_format and --fold."""
    return {"saved_model": SavedModel, "npz": functools.partial(Npz, fold=fold)}[export_format]


def export(problem, chosen, checkpoint, path, about, form=SavedModel, batches=None):
    """Writes the network of a checkpoint and yields lines that say what was done.

    Args:
      problem: the `Problem` that was trained.
      chosen: `Devices`, for the evaluation.
      checkpoint: whose numbers are exported.
      path: the folder to make. It is there only when everything is in it and the exported network, read back, has
        classified the whole test set.
      about: what is to be told in model.json, besides what follows from the above.
      batches: as for `evaluation.opened`.
      form: `form(problem, parameters)` with `write`, `read_back` and `summary`, as `SavedModel` has them.

    Raises ValueError if the checkpoint holds numbers that are not finite, if the network is too large, and if the
    exported network does not compute what the evaluation does.
    """
    scores, part = [], problem.dataset.parts()[-1]
    with opened(problem, chosen, checkpoint, batches) as (session, evaluation):
        metrics = evaluation.metrics(session, scores=scores)
        parameters = read(session, evaluation.kernels)
        updates = int(session.run(variables.global_step()))
    try:
        network = form(problem, parameters)
    except ValueError as error:
        raise ValueError(f"--load={checkpoint}: {error}") from None
    images = part.images
    with _whole_or_absent(path) as folder:
        network.write(folder, _about(problem, checkpoint, updates, metrics, about))
        written, classes = network.read_back(folder, chosen, images, problem.vali_batch_size)
        difference = float(np.abs(written - scores[0]).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(scores[0]).max())):
            raise ValueError(f"exported scores differ by {difference:.1e} from the evaluation's; {path} is not written")
    wrong = 100.0 * float(np.mean(classes != part.labels))
    yield f"{checkpoint}: {metrics}"
    yield (
        f"exported to {path}: err = {wrong:.4f} % on the same {len(images)} {part.split} images, scores differ by at "
        f"most {difference:.1e}; {network.summary}"
    )


def _about(problem, checkpoint, updates, metrics, about):
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
            **{f"{name}_percent": value for name, value in metrics.errors().items()},
            "cross_entropy": metrics.cross_entropy,
        },
    }


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
