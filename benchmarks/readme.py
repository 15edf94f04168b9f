"""Puts the tables of benchmarks/results/*.json into benchmarks/README.md: `python -m benchmarks.readme`.

Between `<!-- results of NAME -->` and `<!-- end -->` stands what the file NAME.json holds, and its plot.
"""

import pathlib
import sys

from benchmarks import maps, profile, report, step
from common.results import places

FOLDER = pathlib.Path(__file__).resolve().parent
_BENCHMARKS = {module.BENCHMARK.name: module.BENCHMARK for module in (maps, step, profile)}


def filled(text, folder):
    """Returns the text with every place filled from `folder`, or saying that there are no results yet."""
    return places.filled(text, lambda name: _section(name, folder))


def _section(name, folder):
    path = folder / f"{name}.json"
    if not path.exists():
        return "\nNot measured yet.\n\n"
    results = report.read(path)
    benchmark = _BENCHMARKS[results["benchmark"]]
    plot = f"![{name}](results/{name}.png)\n\n" if (folder / f"{name}.png").exists() else ""
    return f"\n{plot}{benchmark.tables(results['rows'])}\n{report.footnotes(results, benchmark.gpu_columns)}\n"


def main():
    """Rewrites the README; returns the exit status."""
    try:
        places.fill(FOLDER / "README.md", lambda name: _section(name, FOLDER / "results"))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
