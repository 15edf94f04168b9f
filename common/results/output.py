"""Files of a report: the table in Markdown and CSV, the curves as CSV, the figure."""

import os

from common import files
from common.results import figures, groups, tables

ENDINGS = tuple(f".{ending}" for ending in ("md", "csv", *figures.FORMATS))


def files_of(stem):
    """Returns the paths of all files of a report: the stem with each ending."""
    return [stem + ending for ending in ENDINGS]


def write(found, power, paths, draw=True):
    """Writes what is known of groups into files, each by its ending; the curves beside a .csv.

    Args:
      found: list of `Group`.
      power: the s of the hyperspherical energy.
      paths: of the files. Their folders are made.
      draw: whether to draw the figure, too.

    Raises ValueError if a folder cannot be made, or, when the tables are written, nothing can be drawn.
    """
    for folder in {os.path.dirname(path) or "." for path in paths}:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot make the folder {folder}: {error.strerror}; choose another --out") from None
    for path in paths:
        if path.endswith(".md"):
            files.replace(path, tables.markdown(groups.texts(found)))
        elif path.endswith(".csv"):
            files.replace(path, tables.to_csv(list(map(groups.values, found))))
            files.replace(f"{path.removesuffix('.csv')}-curves.csv", tables.to_csv(figures.points(found, power)))
    plots = [path for path in paths if path.endswith(figures.FORMATS)]
    if draw and plots:
        figure = figures.draw(found, power)
        for path in plots:
            figures.save(figure, path)
