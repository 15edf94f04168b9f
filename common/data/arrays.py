"""One's own images from an .npz file: arrays named as Keras or as MedMNIST name them."""

import os
import pathlib
import zipfile

import numpy as np

from common.console import one_line
from common.data.dataset import DataError, Dataset

# Of each part of a `Dataset`: what its images and its labels are called.
_KERAS = {"train": ("x_train", "y_train"), "holdout": ("x_val", "y_val"), "test": ("x_test", "y_test")}
_MEDMNIST = {
    "train": ("train_images", "train_labels"),
    "holdout": ("val_images", "val_labels"),
    "test": ("test_images", "test_labels"),
}
_EXPECTED = "expected x_train, y_train, x_test, y_test (Keras) or train_images, train_labels, val_images ... (MedMNIST)"


def load(path):
    """Returns the data set of an .npz file with x_train, y_train, x_test, y_test or train_images, train_labels, val_...

    Images are uint8 [N, H, W] or [N, H, W, 1 or 3], labels integers [N] or [N, 1], numbered from 0 without gaps. Grey
    images get three channels. The test part may be missing; a val part is the holdout. Nothing pickled is read.

    Raises DataError, one line naming the file and the array, for anything else, with what to write instead.
    """
    path = pathlib.Path(path)
    names, arrays, others = _arrays(path)
    parts = {split: _part(path, arrays, *pair) for split, pair in names.items()}
    if parts["train"][0] is None:
        raise DataError(f"{path}: holds {', '.join(others[:10]) or 'no array'}; {_EXPECTED}")
    found = np.unique(parts["train"][1])
    if found[0] != 0 or found[-1] != len(found) - 1:
        some = " ".join(str(label) for label in found[:5])
        raise DataError(
            f"{path}: {names['train'][1]} has {len(found)} labels ({some} ...), expected 0 .. {len(found) - 1} without"
            " gaps: save numpy.unique(y_train, return_inverse=True)[1], and the others' labels to match"
        )
    for split, (images, labels) in parts.items():
        if labels is not None and not np.isin(labels, found).all():
            wrong = labels[~np.isin(labels, found)][0]
            raise DataError(f"{path}: {names[split][1]} has the label {wrong}, which no training image has")
        parts[split] = images, None if labels is None else labels.astype(np.int32)
    remarks = (f"{path}: passed over: {', '.join(others[:10])}",) if others else ()
    holdout = dict(zip(("holdout_images", "holdout_labels"), parts["holdout"]))
    arrays = *parts["train"], *parts["test"]
    return Dataset(os.path.abspath(path), len(found), *arrays, mirror=True, remarks=remarks, **holdout)


def _arrays(path):
    """Returns which names the file goes by, {name: array} of those, and a sorted list of the others."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive" if path.is_file() else "there is no such file")
        with np.load(path, allow_pickle=False) as file:
            names = _MEDMNIST if _MEDMNIST["train"][0] in file else _KERAS
            known = {name for pair in names.values() for name in pair}
            return names, {name: file[name] for name in known.intersection(file)}, sorted(set(file) - known)
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds
        if "allow_pickle" in str(error):
            what = "holds Python objects, which are not read: save plain arrays of numbers with numpy.savez"
            raise DataError(f"{path}: {what}") from error
        raise DataError(f"{path}: cannot be read as an .npz file ({one_line(error)[:200]}); {_EXPECTED}") from error


def _part(path, arrays, images_name, labels_name):
    """Returns images uint8 [N, H, W, 3] and labels, integers [N], or None and None if there are neither."""
    images, labels = arrays.get(images_name), arrays.get(labels_name)
    if images is None and labels is None:
        return None, None
    if images is None or labels is None:
        raise DataError(f"{path}: has no {images_name if images is None else labels_name}; {_EXPECTED}")
    advice = _advice_on_images(images)
    if advice:
        found = f"{images.dtype} {list(images.shape)}, expected uint8 [N, H, W] or [N, H, W, 1 or 3]"
        raise DataError(f"{path}: {images_name} is {found}: save {advice}")
    advice = _advice_on_labels(labels)
    if advice:
        found = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(f"{path}: {labels_name} is {found}, expected integers [N] or [N, 1]: save {advice}")
    if len(images) != len(labels) or images.size == 0:
        found = f"{images_name} is {list(images.shape)} and {labels_name} has {len(labels)} labels"
        raise DataError(f"{path}: {found}, expected a label for each image, and at least one pixel")
    images = images[..., None] if images.ndim == 3 else images
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images, labels.ravel()


def _advice_on_images(images):
    """Returns what to save in place of images that are not as they should be, or None."""
    if images.dtype.kind == "f":
        return "numpy.rint(255 * x).astype(numpy.uint8) if they are 0 .. 1, x.astype(numpy.uint8) if they are 0 .. 255"
    if images.dtype == bool:
        return "255 * x.astype(numpy.uint8)"
    if images.dtype == np.uint16:
        return "(x >> 8).astype(numpy.uint8) if they are 0 .. 65535, x.astype(numpy.uint8) if they are 0 .. 255"
    if images.dtype != np.uint8:
        return "x.astype(numpy.uint8), with values 0 .. 255"
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        return "x.transpose(0, 2, 3, 1)"
    if images.ndim != 3 and (images.ndim != 4 or images.shape[-1] not in (1, 3)):
        return "pictures of one or three channels"
    return None


def _advice_on_labels(labels):
    """Returns what to save in place of labels that are not as they should be, or None."""
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "biuf" and np.all(labels.sum(1) == 1):
        return "y.argmax(1), for this looks one-hot"
    if labels.ndim != 1 and labels.shape[1:] != (1,):
        return "one number an image, that of its class; an image of several classes cannot be trained on"
    if labels.dtype.kind in "US":
        return "numpy.unique(y, return_inverse=True)[1], the number of each image's class"
    return None if labels.dtype.kind in "iu" else "y.astype(numpy.int64), the number of each image's class"
