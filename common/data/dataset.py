"""A data set in memory: what every reader returns and every user of data takes."""

import dataclasses

import numpy as np

_BLOCK = 1 << 20  # values looked at in one go, so that a pass over a large set needs little memory


class DataError(ValueError):
    """A file of a data set is missing, broken or not what it should be; the message is one line."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training and test.

    Attributes:
      name: what the set is called, for example "cifar100".
      classes: the number of classes; labels are 0 .. classes - 1.
      train_images, test_images: uint8 [images, height, width, channels], the same height, width and channels in both.
      train_labels, test_labels: int32 [images].
      mirror: whether a training image keeps its meaning when mirrored left to right (a car does, a digit does not).
      remarks: lines that the user has to see, for example that this is another set than the paper's.

    Raises DataError (a ValueError), naming the set and the offending value, if the arrays are not like that.
    """

    name: str
    classes: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mirror: bool
    remarks: tuple = ()

    def __post_init__(self):
        if self.classes < 1:
            raise DataError(f"data set {self.name}: the number of classes is {self.classes}, expected at least 1")
        check_examples(f"data set {self.name}, training", self.train_images, self.train_labels, self.classes)
        check_examples(f"data set {self.name}, test", self.test_images, self.test_labels, self.classes)
        train_shape, test_shape = self.train_images.shape[1:], self.test_images.shape[1:]
        if train_shape != test_shape:
            raise DataError(
                f"data set {self.name}: training images are {list(train_shape)} and test images {list(test_shape)},"
                " expected one size"
            )


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
    block = max(1, _BLOCK // max(1, images[0].size))
    for start in range(0, len(images), block):
        pixels = images[start : start + block].reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    values = np.arange(256, dtype=np.int64)
    count = int(histogram[0].sum())
    means, deviations = [], []
    for row in histogram:
        total, squares = int(row @ values), int(row @ values**2)
        # count^2 * variance as one exact integer: the difference of two large numbers costs no digits.
        variance = (count * squares - total * total) / count**2
        means.append(total / count)
        deviations.append(float(np.sqrt(variance)) or 1.0)
    return tuple(means), tuple(deviations)
