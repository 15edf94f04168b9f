"""Puts the tables of benchmarks/results/*.json into benchmarks/README.md: `python -m benchmarks.readme`.

Between `<!-- results of NAME -->` and `<!-- end -->` stands what the file NAME.json holds, and its plot.
"""

import pathlib
import re
import sys

from benchmarks import cluster, maps, report, scaling, step

FOLDER = pathlib.Path(__file__).resolve().parent
_BENCHMARKS = {module.BENCHMARK.name: module.BENCHMARK for module in (maps, step, scaling, cluster)}
_PLACE = re.compile(r"(<!-- results of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text, folder):
    """Returns the text with every place filled from `folder`, or saying that there are no results yet."""
    return _PLACE.sub(lambda place: place[1] + _section(place[2], folder) + place[3], text)


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
        readme = FOLDER / "README.md"
        readme.write_text(filled(readme.read_text(encoding="utf-8"), FOLDER / "results"), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
