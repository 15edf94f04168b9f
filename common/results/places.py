"""Places of a Markdown file that are filled from files of results.

Between `<!-- results of NAME -->` and `<!-- end -->` stands what the results called NAME give.
"""

import re

_PLACE = re.compile(r"(<!-- results of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text, section):
    """Returns the text with every place filled with `section(name)`."""
    return _PLACE.sub(lambda place: place[1] + section(place[2]) + place[3], text)


def fill(path, section):
    """Fills the places of a file."""
    path.write_text(filled(path.read_text(encoding="utf-8"), section), encoding="utf-8")
