"""Tables and learning curves of runs: python -m common.report RUN... [flags].

RUN is the folder of a run, or one that holds such folders, at any depth. Runs that differ only in --seed are one group,
shown by its median and its range. The table is printed; it and the figures are written into --out.
"""

import dataclasses
import os
import re
import sys

from common import flags
from common.command import main
from common.results import drawing, groups, output, runs

_ENDINGS = tuple(f".{ending}" for ending in (*output.TABLES, *drawing.FORMATS))


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the report."""

    out: str = flags.option(
        "./report", "folder for table and figures, or files with commas between them (.md, .csv, .png, .svg)"
    )
    labels: str | None = flags.option(None, "names of the groups, with commas between them, in the order of the table")
    format: str = flags.option("markdown", "of the table that is printed", ("markdown", "csv"))
    energy: int = flags.option(1, "the s of the hyperspherical energy", minimum=0, maximum=2)
    draw: bool = flags.option(True, "draw figures; they need Matplotlib")


def run(words, settings):
    """Reports on the runs in the folders `words`; returns the exit status."""
    if not words:
        raise ValueError("which runs? python -m common.report FOLDER..., folders of runs or folders that hold some")
    paths, folder = _targets(settings)
    labels = settings.labels.split(",") if settings.labels else None
    found = groups.grouped(runs.find(words), labels)
    rows = [groups.row(group) for group in found]
    print(output.markdown(rows) if settings.format == "markdown" else output.to_csv(rows), end="")
    sys.stdout.flush()
    for line in output.remarks(found):
        print(line, file=sys.stderr)
    if folder:
        output.make_folder(folder)
    output.write_tables(found, settings.energy, paths)
    if settings.draw:
        output.write_figures(found, settings.energy, paths)
        if folder and len(found) > 1:
            for index, group in enumerate(found, start=1):
                name = re.sub(r"[^\w.-]+", "_", f"{index}-{group.title}")
                output.write_figures([group], settings.energy, output.files_of(os.path.join(folder, name)))
    print(f"written: {folder or ', '.join(paths)}", file=sys.stderr)
    return 0


def _targets(settings):
    """Returns (paths of the files to write, the folder to make for them or None)."""
    paths = settings.out.split(",")
    if not any(path.endswith(_ENDINGS) for path in paths):
        if len(paths) > 1:
            raise ValueError(f"--out={settings.out}: expected a folder, or files that end in {', '.join(_ENDINGS)}")
        if os.path.exists(settings.out) and not os.path.isdir(settings.out):
            raise ValueError(
                f"--out={settings.out} is a file, expected a folder or files that end in {', '.join(_ENDINGS)}"
            )
        return output.files_of(os.path.join(settings.out, "report")), settings.out
    for path in paths:
        if not path.endswith(_ENDINGS):
            raise ValueError(f"--out={settings.out}: {path!r} ends in none of {', '.join(_ENDINGS)}")
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise ValueError(f"--out={settings.out}: there is no folder {os.path.dirname(path)}; make it first")
    return paths, None


if __name__ == "__main__":
    main(Settings, run)
