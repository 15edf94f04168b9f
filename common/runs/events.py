"""Event files for TensorBoard: the metrics as curves, and what only a picture shows.

A run folder's events/train and events/test hold them, so that TensorBoard draws training and test set as two curves of
one plot.
"""

import contextlib
import itertools
import os
import threading

import numpy as np

from common.compat import tf
from common.console import complain
from common.runs import pictures

FOLDER = "events"
_NUMBERS = itertools.count()  # of the files of this process
_BINS = 64


class Events:
    """The event files of a run, written by `tf.summary.FileWriter`.

    Args:
      path: the run folder.
      first: the first update that will be done. TensorBoard is told to forget what earlier files have of it and of
        later ones, which a run that goes on does again.

    Nothing is written before there is a first metric. What cannot be written (a full disk, a folder that is gone) is
    said once on standard error and left out; the next event begins a new file.
    """

    def __init__(self, path, first=0):
        self._path, self._first = path, first
        self._writers, self._begun = {}, set()
        self._complained = False

    def scalars(self, step, split, metrics):
        """Adds numbers; {"energy_1": {"conv1_0": 0.7}} is called energy_1/conv1_0."""
        self._add(step, split, [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in _flat(metrics)])

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

    def _add(self, step, split, values):
        if not values:
            return
        try:
            with _silent_threads():
                writer = self._writer(split, step)
                writer.add_summary(tf.Summary(value=values), step)
                writer.flush()
        except Exception as error:  # the writer's thread passes on errors of many types
            self._writers.pop(split, None)
            if not self._complained:
                why = getattr(error, "strerror", None) or str(error).partition("\n")[0].rpartition("; ")[2]
                complain(f"cannot write {os.path.join(self._path, FOLDER)}: {why}; training goes on")
            self._complained = True

    def _writer(self, split, step):
        folder = os.path.join(self._path, FOLDER, split)
        if split not in self._writers or not os.path.isdir(folder):
            if not os.path.isdir(self._path):
                raise FileNotFoundError(2, "the run's folder is gone", self._path)  # the next save makes it
            if split in self._writers:
                self._writers.pop(split).close()
            # TensorBoard reads the files in the order of their names, which begin with the time.
            suffix = f".{os.getpid()}.{next(_NUMBERS):06d}"
            self._writers[split] = tf.summary.FileWriter(folder, filename_suffix=suffix)
            start = step if split in self._begun else self._first
            self._begun.add(split)
            self._writers[split].add_session_log(tf.SessionLog(status=tf.SessionLog.START), start)
        return self._writers[split]


@contextlib.contextmanager
def _silent_threads():
    """Keeps the traceback that FileWriter's thread prints from the terminal: `flush` raises the same error."""
    hook, level = threading.excepthook, tf.logging.get_verbosity()
    threading.excepthook = lambda arguments: None
    tf.logging.set_verbosity(tf.logging.FATAL)
    try:
        yield
    finally:
        threading.excepthook = hook
        tf.logging.set_verbosity(level)


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


def _flat(metrics, prefix=""):
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value
