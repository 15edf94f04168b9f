"""Keeping checkpoints: complete or absent, checked before an older one goes.

A checkpoint is written in a folder saving-* inside the run folder, brought to the disk, read back whole, given its
checksums, and only then renamed into the run folder, its index last. Then the file `checkpoint`, which lists them, is
replaced. Wherever this is cut off, the run folder holds complete checkpoints only. What lies in saving-* is renamed by
the next start if it is complete, else removed.
"""

import os
import re
import shutil
import tempfile

from common import files
from common.compat import tf
from common.console import one_line
from common.files import FLAGS, METRICS, SAVING, START
from common.graph import variables
from common.runs import checkpoint_files, checkpoints

_WORK = re.compile(rf"{SAVING}(-[a-z0-9_]{{8}})?")  # the first version's had no ending


class SaveError(Exception):
    """A checkpoint could not be written; the older ones are as they were. The message is one line."""


class CheckpointManager:
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
        if origin and os.path.realpath(os.path.dirname(origin)) == os.path.realpath(self._folder):
            origin = os.path.join(self._folder, os.path.basename(origin))  # however the folder was written
        if origin in self._kept:
            after = self._kept.index(origin) + 1
            if self._kept[after:]:
                self._kept = self._kept[after:] + self._kept[:after]
                self._list(self._kept)

    def save(self, session, step):
        """Writes model.ckpt-`step` and returns its path. Raises SaveError; then the older ones are still there."""
        name, work = f"{checkpoints.NAME}-{step}", None
        try:
            work = tempfile.mkdtemp(prefix=f"{SAVING}-", dir=self._folder)
            self._write(session, work, name)
            _place(self._folder, work)
            return self._keep(os.path.join(self._folder, name))
        except (OSError, ValueError, tf.errors.OpError) as error:  # TensorFlow's ValueError: the folder is gone
            raise SaveError(one_line(error)) from error
        finally:
            if work:
                _finish(self._folder, work)

    def _write(self, session, work, name):
        """Writes a checkpoint into the folder `work`; its sums come last, and say that it is complete."""
        written = os.path.join(work, name)
        with files.for_tensorflow(work) as folder:
            self._saver.save(session, os.path.join(folder, name), write_meta_graph=False, write_state=False)
        for part in checkpoint_files.paths(written):
            files.sync(part)
        fault = checkpoints.unreadable(written)
        if fault:
            raise SaveError(f"what was written reads back wrongly: {fault}")
        checkpoint_files.write_sums(written)
        files.sync(work)

    def _keep(self, path):
        """Counts a new checkpoint and removes those that are too many; returns its path."""
        self._kept = [*(other for other in self._kept if other != path), path]
        self._list(self._kept)  # before the first is removed: a crash leaves none of them out
        for other in self._kept[: -self._most]:
            checkpoint_files.remove(other)
        self._kept = self._kept[-self._most :]
        self._list(self._kept)
        return path

    def _list(self, paths):
        """Writes the file `checkpoint` with names alone: they stay right when the folder is moved."""
        names = [os.path.basename(path) for path in paths]
        with files.for_tensorflow(os.path.abspath(self._folder)) as folder:
            tf.train.update_checkpoint_state(folder, names[-1], names)
        files.sync(os.path.join(self._folder, checkpoints.LIST))
        files.sync(self._folder)


def tidy(folder):
    """Removes what a killed save has left in a run folder; its owner alone may ask for that."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(f"{checkpoints.LIST}.tmp") or name in map(files.temporary, (FLAGS, METRICS, START)):
            files.remove(path)
        if _WORK.fullmatch(name) and os.path.isdir(path):
            _finish(folder, path)


def _place(folder, work):
    """Renames the checkpoint in `work`, if it is complete, into the run folder: data, sums, index.

    One of the same step, of a past that is replaced, goes before. Called again, it goes on where it was cut off: the
    sums are still there, or in the run folder as the data are.
    """
    for name in _names(work):
        prefix, placed = os.path.join(work, name), os.path.join(folder, name)
        *data, index = checkpoint_files.paths(prefix)
        sums, taken = prefix + checkpoint_files.ENDING, os.path.exists(f"{placed}.index")
        if not os.path.exists(sums) and (data or taken):
            continue
        if taken:
            checkpoint_files.remove(placed)
        for part in (*data, sums, index):
            if os.path.exists(part):
                os.replace(part, os.path.join(folder, os.path.basename(part)))
        files.sync(folder)


def _names(work):
    return [name.removesuffix(".index") for name in os.listdir(work) if name.endswith(".index")]


def _finish(folder, work):
    """Ends a save that was cut off: places what is complete, and removes the rest."""
    try:
        _place(folder, work)
        for name in _names(work):  # the index goes first, and with it what the first version had renamed before it
            checkpoint_files.remove(os.path.join(work, name))
            if not os.path.exists(os.path.join(folder, f"{name}.index")):
                checkpoint_files.remove(os.path.join(folder, name))
    except OSError:
        return  # the next start tries again
    shutil.rmtree(work, ignore_errors=True)
