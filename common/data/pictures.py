"""One's own images from a folder: train/, val/ and test/, in each a folder a class, in those PNG and JPEG files."""

import os
import pathlib

import numpy as np
from tqdm import tqdm

from common.console import one_line
from common.data.dataset import DataError, Dataset

_ENDINGS = (".png", ".jpg", ".jpeg")
_IGNORED = ("thumbs.db", "desktop.ini")
_VALIDATION = ("val", "valid", "validation")  # what the folder of the validation part may be called


def load(folder, image_size=None):
    """Returns the data set of a folder with train/CLASS/... and test/CLASS/..., PNG and JPEG files, folders in folders.

    Classes are numbered by the string order of the folders in train/. Images become uint8 [N, H, W, 3]: grey ones get
    three channels, transparency lies over black, 16 bits are scaled to 8, and a photograph is rotated as it says it was
    taken. Paths are sorted, so that all machines see one order.

    Args:
      folder: its path. There may be no test/ in it; val/, also called valid/ or validation/, is the holdout.
      image_size: height and width; each picture is cut to a square at its centre and scaled. None: all have one size.

    Raises DataError, one line naming the file or folder, if a picture is damaged or of another size, if a class has
    no picture in train/, and if val/ or test/ has a class that train/ lacks.
    """
    folder = pathlib.Path(folder)
    if not (folder / "train").is_dir():
        outer = f"; give {folder.parent}, which holds train/" if (folder.parent / "train").is_dir() else ""
        raise DataError(f"{folder}: there is no train/ in it, expected train/CLASS/... and test/CLASS/...{outer}")
    names = sorted(_folders(folder / "train"))
    if not names:
        raise DataError(f"{folder}: train/ has no folders in it, expected one a class")
    for name in names:
        if not name.isprintable():
            fault = f"the class {name!r} cannot be printed, and logs name it; rename its folder"
            raise DataError(f"{folder / 'train'}: {fault}")
    passed_over = {"hidden": [], "no PNG or JPEG of a class": [], "links to folders": []}
    validation = next((name for name in _VALIDATION if (folder / name).is_dir()), _VALIDATION[0])
    splits = ("train", validation, "test")
    passed_over["neither train/, val/ nor test/"] = [name for name in _folders(folder) if name not in splits]
    files = {split: _files(folder, split, names, passed_over) for split in splits}
    empty = {split: sorted(set(names) - {name for name, _ in found}) for split, found in files.items()}
    if empty["train"]:
        raise DataError(f"{folder / 'train' / empty['train'][0]}: has no PNG or JPEG, expected some for every class")
    images = _read_all([folder / path for split in splits for _, path in files[split]], image_size)
    ends, parts = np.cumsum([len(found) for found in files.values()]), []
    for found, own in zip(files.values(), np.split(images, ends[:-1])):
        numbers = np.array([names.index(name) for name, _ in found], np.int32)
        parts.append((own, numbers) if found else (None, None))
    train, holdout, test = parts
    remarks = [
        f"{folder}: passed over: {len(found)} ({reason}: {_some(sorted(found), 3)})"
        for reason, found in passed_over.items()
        if found
    ]
    remarks += [
        f"{folder}: {split}/ has no picture of {len(absent)} of {len(names)} classes: {_some(absent, 10)}"
        for split, absent in empty.items()
        if absent and files[split]
    ]
    return Dataset(
        os.path.abspath(folder), len(names), *train, *test, mirror=True, remarks=tuple(remarks),
        class_names=tuple(names), holdout_images=holdout[0], holdout_labels=holdout[1],
    )  # fmt: skip


def _some(names, count):
    """Returns the first names of a list, as remarks have them."""
    return f"{', '.join(names[:count])}{' ...' * (len(names) > count)}"


def _folders(place):
    """Returns the names of the folders in a folder, but for hidden ones."""
    try:
        return [entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror}), expected a folder with one a class") from error


def _files(folder, split, names, passed_over):
    """Returns sorted pairs (class, path within `folder`) of the pictures of a part; none if the part is not there."""
    if not (folder / split).is_dir():
        return []
    unknown = sorted(set(_folders(folder / split)) - set(names))
    if unknown:
        what = f"train/ has no such class, expected one of {', '.join(names[:10])}"
        raise DataError(f"{folder / split / unknown[0]}: {what}")
    found = []
    for name in (*names, ""):  # "": what lies beside the folders of the classes
        for place, inner, files in os.walk(folder / split / name):
            path = pathlib.Path(place).relative_to(folder)
            passed_over["hidden"] += [str(path / inside) for inside in inner if inside.startswith(".")]
            inner[:] = [inside for inside in inner if name and not inside.startswith(".")]
            links = [inside for inside in inner if os.path.islink(os.path.join(place, inside))]
            passed_over["links to folders"] += [str(path / link) for link in links]
            for file in files:
                if file.startswith(".") or file.lower() in _IGNORED:
                    passed_over["hidden"].append(str(path / file))
                elif name and file.lower().endswith(_ENDINGS):
                    found.append((name, (path / file).as_posix()))
                else:
                    passed_over["no PNG or JPEG of a class"].append(str(path / file))
    return sorted(found)


def _read_all(paths, image_size):
    """Returns the images of all paths, uint8 [N, height, width, 3]."""
    images = None
    for index, path in enumerate(tqdm(paths, desc="pictures", unit="", disable=None)):
        image = _read(path, image_size)
        if images is None:
            images = np.empty([len(paths), *image.shape], np.uint8)
        if image.shape != images.shape[1:]:
            sizes = [" x ".join(map(str, shape[1::-1])) for shape in (image.shape, images.shape[1:])]
            raise DataError(f"{path}: is {sizes[0]}, but {paths[0]} is {sizes[1]}; --image_size=N gives all one size")
        images[index] = image
    return images


def _read(path, image_size=None):
    """Returns one picture, uint8 [height, width, 3]."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        advice = "pip install 'orthogonal-training[images]'"
        raise DataError(f"{path}: pictures are read by Pillow, which is not installed: {advice}") from error
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow's own conversion clips
                pixels = np.asarray(image).astype(np.int32)
                pixels = np.where(pixels == image.info.get("transparency"), 0, pixels >> 8)
                image = Image.fromarray(pixels.astype(np.uint8))
            if "A" in image.mode or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            image = image.convert("RGB")
            if image_size is not None:
                image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
            return np.asarray(image)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"{path}: is damaged or no PNG or JPEG ({one_line(error)[:200]})") from error
