"""Puts the tables and figures of benchmarks/results/ into README.md: `python -m common.readme`.

They are those of `python -m common.reproduce TABLE --out=benchmarks/results`; where they go is said in
common/results/places.py.
"""

import dataclasses
import pathlib

from common import flags
from common.command import main
from common.results import output, places
from common.results.papers import ROOT

RESULTS = "benchmarks/results"
NOT_YET = "\nNot run yet.\n\n"


@dataclasses.dataclass(frozen=True)
class Settings(flags.Checked):
    """Flags of the command: none."""


def section(root, name):
    """Returns what stands in the place of the results called `name`: the figure, if it is there, and the table."""
    table = pathlib.Path(root, RESULTS, f"{name}.csv")
    if not table.exists():
        return NOT_YET
    figure = f"![{name}]({RESULTS}/{name}.png)\n\n" if table.with_suffix(".png").exists() else ""
    return f"\n{figure}{output.markdown(output.from_csv(table.read_text(encoding='utf-8')))}\n"


def run(words, settings):
    """Fills the README; returns the exit status."""
    if words:
        raise ValueError(f"unexpected argument {words[0]!r}: this command takes none")
    places.fill(ROOT / "README.md", lambda name: section(ROOT, name))
    return 0


if __name__ == "__main__":
    main(Settings, run)
