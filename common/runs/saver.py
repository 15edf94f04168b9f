"""Keeping checkpoints: complete or absent, checked before an older one goes.

A checkpoint is written in the folder SAVING inside the run folder, brought to the disk, read back whole, given its
checksums, and only then renamed into the run folder, its index last: it is what makes a checkpoint of the files. Then
the file `checkpoint`, which lists them in TensorFlow's format, is replaced. Wherever this is cut off, the run folder
holds complete checkpoints only, and what is half done lies in SAVING.
"""

import os
import re
import shutil

from common import files
from common.compat import tf
from common.console import one_line
from common.files import FLAGS, METRICS
from common.graph import variables
from common.runs import checkpoint_files, checkpoints

SAVING = "saving"


class SaveError(Exception):
    """A checkpoint could not be written; the older ones are as they were. The message is one line."""


class Keeper:
    """Saves the variables of replica 0 into a run folder, the newest `max_to_keep` of them.

    Built when the graph is complete: it saves what then exists, optimizer slots included. The folder may be moved as a
    whole.
    """

    def __init__(self, folder, max_to_keep):
        self._folder, self._most = folder, max_to_keep
        # No management by TensorFlow: it removes the old checkpoint without a look at the new one.
        self._saver = tf.train.Saver({v.op.name: v for v in variables.saved()}, max_to_keep=None)
        self._kept = []

    def begin(self, origin=None):
        """Counts the checkpoints that are there, oldest first.

        Those after `origin`, with which the run goes on, are of a past that it replaces, or damaged: they count as the
        oldest from now on.
        """
        self._kept = checkpoints.listed(self._folder)
        if origin in self._kept:
            after = self._kept.index(origin) + 1
            if self._kept[after:]:
                self._kept = self._kept[after:] + self._kept[:after]
                self._list(self._kept)

    def save(self, session, step):
        """Writes model.ckpt-`step` and returns its path. Raises SaveError; then the older ones are still there."""
        work = os.path.join(self._folder, SAVING)
        try:
            shutil.rmtree(work, ignore_errors=True)
            os.mkdir(work)
            return self._save(session, work, f"{checkpoints.NAME}-{step}")
        except (OSError, ValueError, tf.errors.OpError) as error:  # TensorFlow's ValueError: the folder is gone
            raise SaveError(one_line(error)) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _save(self, session, work, name):
        written, path = os.path.join(work, name), os.path.join(self._folder, name)
        self._saver.save(session, written, write_meta_graph=False, write_state=False)
        for part in checkpoint_files.parts(written):
            files.sync(part)
        fault = checkpoints.unreadable(written)
        if fault:
            raise SaveError(f"what was written reads back wrongly: {fault}")
        checkpoint_files.write(written)
        files.sync(work)
        _remove(path)  # one of the same step, of a past that is replaced
        for part in [written + checkpoint_files.ENDING, *checkpoint_files.parts(written)]:
            os.replace(part, os.path.join(self._folder, os.path.basename(part)))
        files.sync(self._folder)
        self._kept = [*(other for other in self._kept if other != path), path]
        self._list(self._kept)  # before the first is removed: a crash leaves none of them out
        for other in self._kept[: -self._most]:
            _remove(other)
        self._kept = self._kept[-self._most :]
        self._list(self._kept)
        return path

    def _list(self, paths):
        names = [os.path.basename(path) for path in paths]
        lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
        files.replace(os.path.join(self._folder, checkpoints.LIST), "\n".join(lines) + "\n")


def tidy(folder):
    """Removes what a killed save has left in a run folder; its owner alone may ask for that."""
    for name in (checkpoints.LIST, FLAGS, METRICS):
        files.remove(files.temporary(os.path.join(folder, name)))
    work = os.path.join(folder, SAVING)
    if not os.path.isdir(work):
        return
    for name in os.listdir(work):
        prefix = os.path.join(folder, name.removesuffix(".index"))
        if name.endswith(".index") and not os.path.exists(prefix + ".index"):
            _remove(prefix)  # the renaming was cut off: the index was to come last
    shutil.rmtree(work, ignore_errors=True)


def _remove(prefix):
    """Removes a checkpoint, its index first: without it the rest is none."""
    pattern = re.compile(re.escape(os.path.basename(prefix)) + r"\.(index|sha256|meta|data-\d{5}-of-\d{5})")
    folder = os.path.dirname(prefix)
    names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    for name in sorted(names, key=lambda name: not name.endswith(".index")):
        files.remove(os.path.join(folder, name))
