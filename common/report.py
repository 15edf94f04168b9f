"""Table and figure of runs: python -m common.report RUN... [flags].

RUN is the folder of a run, or one that holds such folders, at any depth. Runs that differ only in --seed are one group,
shown by its median and its range. The table is printed; table, curves and figure are written into --out.
"""

import dataclasses
import os
import sys

from common import flags
from common.command import main
from common.results import figures, groups, runs, tables


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the report."""

    out: str = flags.path(
        "./report", "folder for table and figure, or files with commas between them (.md, .csv, .png, .svg)"
    )
    labels: str | None = flags.option(None, "names of the groups, with commas between them, in the order of the table")
    format: str = flags.option("markdown", "of the table that is printed", ("markdown", "csv"))
    energy: int = flags.option(
        1, "the s of the hyperspherical energy in curves and figure; that of the table is 1", minimum=0, maximum=2
    )
    draw: bool = flags.option(True, "draw the figure; that needs Matplotlib")


def run(words, settings):
    """Reports on the runs in the folders `words`; returns the exit status."""
    if not words:
        raise ValueError("which runs? python -m common.report FOLDER..., folders of runs or folders that hold some")
    paths = _paths(settings.out)
    labels = settings.labels.split(",") if settings.labels else None
    found = groups.grouped(runs.find(words), labels)
    in_csv = settings.format == "csv"
    table = tables.to_csv(list(map(tables.values, found))) if in_csv else tables.markdown(tables.texts(found))
    print(table, end="", flush=True)
    for group in found:
        for line in group.remarks():
            print(line, file=sys.stderr)
    tables.write(found, settings.energy, [p for p in paths if settings.draw or not p.endswith(figures.FORMATS)])
    print(f"written: {settings.out}", file=sys.stderr)
    return 0


def _paths(out):
    """Returns the files to write for --out."""
    endings = (*tables.FORMATS, *figures.FORMATS)
    paths = [flags.local_path("--out", path) for path in out.split(",")]
    if all(path.endswith(endings) for path in paths):
        return paths
    if len(paths) > 1 or os.path.isfile(paths[0]):
        raise ValueError(f"--out={out}: expected a folder, or files that end in {', '.join(endings)}")
    return [os.path.join(paths[0], f"report{ending}") for ending in endings]


if __name__ == "__main__":
    main(Settings, run)
