"""The verdict of a soak, from samples made up here, and one short soak."""

import io
import json

import pytest

from benchmarks import soak


def samples(memory=lambda step: 800.0, handles=lambda step: 7, step_ms=lambda step: 3.0):
    return [
        {"step": step, "memory_mib": memory(step), "handles": handles(step), "threads": 5, "step_ms": step_ms(step)}
        for step in range(500, 20_001, 500)
    ]


def test_growth_is_the_rise_of_the_line_over_the_second_half():
    """A kilobyte a step is 10,000 kB over steps 10,000 to 20,000; what happened before does not count."""
    grown = soak.growth(samples(memory=lambda step: 100.0 + (step - 10_000) / 1024), "memory_mib")
    assert grown == pytest.approx(10_000 / 1024)
    assert soak.growth(samples(memory=lambda step: min(step, 10_000)), "memory_mib") == pytest.approx(0.0)


def test_what_grows_is_found():
    flat = soak.verdict(samples(memory=lambda step: 800 + step % 3))
    assert all(result["flat"] for result in flat.values())
    leak = soak.verdict(samples(memory=lambda step: 800 + step / 1000, handles=lambda step: step // 5000))
    assert not leak["memory_mib"]["flat"] and not leak["handles"]["flat"] and leak["threads"]["flat"]
    slower = soak.verdict(samples(step_ms=lambda step: step / 1000))
    assert not slower["step_ms"]["flat"] and all(slower[name]["flat"] for name in soak.DECIDING)


def test_a_process_counts_its_handles(tmp_path):
    before = soak.process()["handles"]
    with open(tmp_path / "file", "w", encoding="utf-8"):
        assert soak.process()["handles"] == before + 1


@pytest.mark.slow
def test_a_short_soak_goes_through_the_real_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "SAMPLES", 4)
    out = io.StringIO()
    seen, judged = soak.soak(40, str(tmp_path), out)
    assert [sample["step"] for sample in seen] == [10, 20, 30, 40] and set(judged) == set(soak.TOLERANCES)
    assert len(out.getvalue().splitlines()) == 5
    assert json.loads(json.dumps(judged)) == judged
    assert list((tmp_path / "run").glob("model.ckpt-39.*"))


def test_too_few_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        soak.main(["--steps=10"])
    assert "--steps=10: expected at least" in capsys.readouterr().err
