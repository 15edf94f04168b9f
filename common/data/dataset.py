"""A data set in memory: what every reader returns and every user of data takes."""

import dataclasses
import hashlib
import typing

import numpy as np

_BLOCK = 1 << 20  # values looked at in one go, so that a pass over a large set needs little memory


class DataError(ValueError):
    """A file of a data set is missing, broken or not what it should be; the message is one line."""


class Part(typing.NamedTuple):
    """One part of a data set: "train", "holdout" or "test", its images and its labels."""

    split: str
    images: np.ndarray
    labels: np.ndarray

    @property
    def adjective(self):
        """What its images are called: "training", "holdout" or "test"."""
        return "training" if self.split == "train" else self.split


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training and evaluation.

    Attributes:
      name: what --data calls the set: "cifar100", or the absolute path of one's own images.
      classes: the number of classes; labels are 0 .. classes - 1.
      train_images, test_images: uint8 [images, height, width, channels], the same height, width and channels in both.
      train_labels, test_labels: int32 [images].
      mirror: whether a training image keeps its meaning when mirrored left to right (a car does, a digit does not).
      remarks: lines that the user has to see, for example that this is another set than the paper's.
      class_names: the names of the classes in their order, or none.
      holdout_images, holdout_labels: training images kept apart for validation (see common/data/holdout.py), or None.

    The test part may be None. Raises DataError (a ValueError), naming the set and the offending value, if the arrays
    are not like that.
    """

    name: str
    classes: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    mirror: bool
    remarks: tuple = ()
    class_names: tuple = ()
    holdout_images: np.ndarray | None = None
    holdout_labels: np.ndarray | None = None

    def __post_init__(self):
        if self.classes < 1:
            raise DataError(f"data set {self.name}: the number of classes is {self.classes}, expected at least 1")
        if len(self.class_names) not in (0, self.classes):
            raise DataError(f"data set {self.name}: {len(self.class_names)} names for {self.classes} classes")
        for part in self.parts():
            check_examples(f"data set {self.name}, {part.adjective}", part.images, part.labels, self.classes)
            shapes = list(self.train_images.shape[1:]), list(part.images.shape[1:])
            if shapes[0] != shapes[1]:
                found = f"training images are {shapes[0]} and {part.adjective} images {shapes[1]}"
                raise DataError(f"data set {self.name}: {found}, expected one size")

    def parts(self):
        """Returns the `Part`s that there are: train, holdout, test."""
        parts = (
            Part("train", self.train_images, self.train_labels),
            Part("holdout", self.holdout_images, self.holdout_labels),
            Part("test", self.test_images, self.test_labels),
        )
        return [part for part in parts if part.images is not None]

    def validation(self):
        """Returns the `Part` on which curves and choices are made: the holdout, or the test part if there is none."""
        return self.parts()[1]

    def digest(self):
        """Returns the SHA-256 sum of all images, labels and class names, in hexadecimal digits."""
        digest = hashlib.sha256(repr((self.classes, self.class_names)).encode())
        for part in self.parts():
            digest.update(repr((part.split, part.images.shape)).encode())
            for array in part.images, part.labels:
                for start in range(0, len(array), 4096):
                    digest.update(np.ascontiguousarray(array[start : start + 4096]))
        return digest.hexdigest()

    def lines(self):
        """Returns lines for a log: how many images of what size, the names of the classes, and who is in a holdout."""
        *counts, last = [f"{len(part.images)} {part.adjective}" for part in self.parts()]
        size = " x ".join(str(size) for size in self.train_images.shape[1:])
        counts = f"{', '.join(counts)} and {last}" if counts else last
        lines = [f"data set {self.name}: {counts} images, {size}, {self.classes} classes"]
        if self.class_names:
            lines.append(f"classes: {listed(self.class_names)}")
        if self.holdout_labels is not None:
            counts = np.bincount(self.holdout_labels, minlength=self.classes)
            lines.append("holdout, images a class: " + " ".join(str(count) for count in counts))
        return lines


def listed(class_names):
    """Returns the names of classes as logs and runs have them: "0 cat, 1 dog"."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(class_names))


def check_examples(where, images, labels, classes):
    """Raises DataError, beginning with `where`, unless images and labels are as `Dataset` states them."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(
            f"{where}: images are {images.dtype} {list(images.shape)}, expected uint8 [images, height, width, channels]"
        )
    if labels.dtype != np.int32 or labels.ndim != 1:
        raise DataError(f"{where}: labels are {labels.dtype} {list(labels.shape)}, expected int32 [images]")
    if images.size == 0:
        raise DataError(f"{where}: images have the shape {list(images.shape)}, expected at least one image and pixel")
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(images)} images but {len(labels)} labels, expected as many labels as images")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise DataError(f"{where}: label {wrong[0]} is outside the classes, expected 0 .. {classes - 1}")


def channel_statistics(images):
    """Returns the mean and the standard deviation of each channel over all images and pixels.

    Args:
      images: uint8 [images, height, width, channels].

    Returns two tuples of floats, one entry a channel. The deviation is that of the whole set (divided by the number
    of values, not one less); for a channel of one constant value, whose deviation is 0, it is given as 1.0, so that
    dividing by it is safe. Sums are exact integers, taken from a histogram, and slices keep the memory small.
    """
    channels = images.shape[-1]
    histogram = np.zeros([channels, 256], np.int64)
    block = max(1, _BLOCK // images[0].size)
    for start in range(0, len(images), block):
        pixels = images[start : start + block].reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    values, count = np.arange(256), int(histogram[0].sum())
    means, deviations = [], []
    for row in histogram:
        total, squares = int(row @ values), int(row @ values**2)
        # count^2 * variance as one exact integer: the difference of two large numbers costs no digits.
        variance = (count * squares - total * total) / count**2
        means.append(total / count)
        deviations.append(float(np.sqrt(variance)) or 1.0)
    return tuple(means), tuple(deviations)
