"""What the README shows is what runs."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_program_in_ones_own_style_is_the_tested_one():
    assert (ROOT / "tests" / "grassmann" / "guide_program.py").read_text(encoding="utf-8") in PROGRAMS


def test_use_from_code_trains():
    (program,) = [program for program in PROGRAMS if "problem.build" in program]
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    assert 0.0 < names["fit"] < 2.0  # log(10) = 2.3 is chance


def test_every_flag_is_in_the_readme():
    from common.flags import dataclasses
    from grassmann.program import Settings as Grassmann
    from opt_ogd.method import OgdSettings
    from sopt_gs.method import EpisodeSettings

    for settings in (OgdSettings, EpisodeSettings, Grassmann):
        for field in dataclasses.fields(settings):
            assert re.search(rf"\b{field.name}\b", README), f"{field.name} is not in the README"


def test_no_mark_is_left():
    assert not re.search(r"@[A-Z_]+@", README)


def test_every_test_that_the_readme_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", README)
    assert len(named) > 30
    for path, function in named:
        code = (ROOT / path).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in code, f"{path} has no {function}"
