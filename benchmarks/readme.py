"""Fills the tables of Markdown files from benchmarks/results: `python -m benchmarks.readme`.

Between `<!-- results of NAME -->` and `<!-- end -->` stands what NAME.json (of a benchmark) holds, or NAME.png and
NAME.md, the figure and the table that `python -m common.reproduce TABLE --out=benchmarks/results` has left.
"""

import pathlib
import re
import sys

from benchmarks import bits, maps, profile, records, step

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = {  # and where they find the results
    "README.md": "benchmarks/results", "docs/results.md": "../benchmarks/results", "benchmarks/README.md": "results"
}  # fmt: skip
_PLACE = re.compile(r"(<!-- results of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BENCHMARKS = {module.BENCHMARK.name: module.BENCHMARK for module in (maps, step, profile, bits)}


def filled(text, results, link):
    """Returns a text with every place filled from the folder `results`, which the text calls `link`."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{_section(results / place[2], link)}\n{place[3]}", text)


def _section(stem, link):
    measured, table, figure = (stem.with_suffix(ending) for ending in (".json", ".md", ".png"))
    if measured.exists():
        content = records.read(measured)
        return f"{_BENCHMARKS[content['benchmark']].tables(content['rows'])}\n{records.footnotes(content)}"
    if table.exists():
        shown = f"![{stem.name}]({link}/{figure.name})\n\n" if figure.exists() else ""
        return shown + table.read_text(encoding="utf-8")
    return "Not run yet.\n"


def main():
    """Rewrites the files; returns the exit status."""
    try:
        for name, link in FILES.items():
            text = (ROOT / name).read_text(encoding="utf-8")
            (ROOT / name).write_text(filled(text, ROOT / "benchmarks" / "results", link), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
