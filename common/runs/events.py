"""Event files for TensorBoard: the figures of metrics.jsonl as curves, and what only a picture shows.

A run folder's events/train and events/test hold them, so that TensorBoard draws training and test set as two curves of
one plot. Files are written through `tf.python_io.TFRecordWriter`, the writer beneath `tf.summary.FileWriter`. The
latter writes in a thread, from which a full disk comes back as a traceback on the terminal and lost events.
"""

import os
import socket
import sys
import time

import numpy as np

from common import files
from common.compat import tf
from common.runs import pictures

FOLDER = "events"
SPLITS = ("train", "test")
_VERSION = "brain.Event:2"  # what TensorBoard expects of the first event of a file
_BINS = 64


class Events:
    """The event files of a run.

    Args:
      path: the run's folder.
      first: the first update that will be done. TensorBoard is told to forget what earlier files have of it and of
        later ones, which a run that goes on does again.

    What cannot be written (a full disk, a folder that is gone) is said once on standard error, kept, and written to a
    new file with the next that can be. Nothing is written before there is a first figure.
    """

    def __init__(self, path, first=0):
        self._path = path
        self._files = {split: _EventFile(path, split, first) for split in SPLITS}
        self._complained = False

    def scalars(self, step, split, figures):
        """Adds numbers; {"energy_1": {"conv1_0": 0.7}} is called energy_1/conv1_0."""
        self._add(step, split, [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in _flat(figures)])

    def histograms(self, step, split, arrays):
        """Adds the distribution of the entries of each array of {tag: array}."""
        self._add(step, split, [tf.Summary.Value(tag=tag, histo=histogram(array)) for tag, array in arrays.items()])

    def picture(self, step, split, tag, picture):
        """Adds a picture, uint8 [height, width, channels]."""
        height, width, channels = picture.shape
        image = tf.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=pictures.png(picture)
        )
        self._add(step, split, [tf.Summary.Value(tag=tag, image=image)])

    def sync(self):
        """Brings everything to the disk, as far as that can be."""
        for file in self._files.values():
            self._try(file.sync)

    def _add(self, step, split, values):
        if values:
            self._try(lambda: self._files[split].add(step, values))

    def _try(self, act):
        try:
            act()
        except (OSError, tf.errors.OpError) as error:
            if not self._complained:
                why = error.message.rpartition("; ")[2] if isinstance(error, tf.errors.OpError) else error.strerror
                print(f"cannot write {os.path.join(self._path, FOLDER)}: {why}; training goes on", file=sys.stderr)
            self._complained = True


def histogram(array):
    """Returns the HistogramProto of an array's entries in bins of equal width; those that are not finite are left out.

    A bin ends at its `bucket_limit`, and begins where the one before it ends.
    """
    values = np.asarray(array, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return tf.HistogramProto()
    least, most = values.min(), values.max()
    counts, edges = np.histogram(values, _BINS if least < most else 1)
    return tf.HistogramProto(
        min=least,
        max=most,
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )


class _EventFile:
    """The files of one split, one after another: each process writes its own, and a new one after each failure.

    What could not be written when an error is raised is kept, and written with the next that can be.
    """

    def __init__(self, run_folder, split, first):
        self._run_folder, self._folder = run_folder, os.path.join(run_folder, FOLDER, split)
        start = tf.SessionLog(status=tf.SessionLog.START)
        self._owed = [tf.Event(wall_time=time.time(), step=first, session_log=start)]
        self._path, self._writer, self._good = None, None, 0

    def add(self, step, values):
        self._owed.append(tf.Event(wall_time=time.time(), step=step, summary=tf.Summary(value=values)))
        self._write()

    def sync(self):
        if self._writer is None and len(self._owed) == 1:
            return  # there is no figure yet
        if self._owed:
            self._write()
        files.sync(self._path)

    def _write(self):
        try:
            if self._writer is None or not os.path.exists(self._path):
                self._open()
            for event in self._owed:
                self._writer.write(event.SerializeToString())
            self._writer.flush()
            self._owed, self._good = [], os.path.getsize(self._path)
        except (OSError, tf.errors.OpError):
            self._give_up()
            raise

    def _open(self):
        if not os.path.isdir(self._run_folder):
            raise FileNotFoundError(2, "the run's folder is gone", self._run_folder)  # it is made by the next save
        os.makedirs(self._folder, exist_ok=True)
        # TensorBoard reads the files in the order of their names.
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{len(os.listdir(self._folder)):04d}"
        self._path, self._good = os.path.join(self._folder, f"events.out.tfevents.{place}"), 0
        self._writer = tf.python_io.TFRecordWriter(self._path)
        self._writer.write(tf.Event(wall_time=time.time(), file_version=_VERSION).SerializeToString())

    def _give_up(self):
        """Leaves a file that cannot be written to with its whole events, or not at all."""
        if self._writer is None:
            return
        for leave in (self._writer.close, self._cut):
            try:
                leave()
            except (OSError, tf.errors.OpError):
                pass
        self._writer = None

    def _cut(self):
        if self._good:
            os.truncate(self._path, self._good)
        else:
            os.remove(self._path)


def _flat(figures, prefix=""):
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
