"""A run that sits where its loss has no gradient is told so, once."""

import math

import pytest

from common.cli.program import run
from common.training.floor import Floor
from opt_gs.train import method


class Log(list):
    say = list.append


# -log(1e-4) (1 - 1/10) = 8.2893: all answers are sure, nine in ten wrong.
@pytest.mark.parametrize(("reports", "said"), [
    ([(8.3, 0.9)] * 9, [2]),
    ([(8.3, 0.9), (8.0, 0.85), (3.0, 0.9), (8.6, 0.94), (8.2, 0.88), (7.9, 0.91), (2.0, 0.5), *[(8.3, 0.9)] * 3], [5]),
    ([(2.3, 0.9)] * 9, []),  # at chance and not sure: what a random network does
    ([(6.5, 0.9)] * 9, []),
    ([(8.3, 0.7)] * 9, []),
    ([(math.nan, 0.9)] * 9, []),
])  # fmt: skip
def test_it_is_said_after_three_reports_in_a_row_and_once(reports, said):
    log, steps = Log(), []
    floor = Floor(log, {"fit": None, "error": None}, classes=10, frequency=10, last=89)
    for step in range(90):
        fit, error = reports[min(step // 10, len(reports) - 1)]
        floor.after_step(step, {"fit": fit, "error": error})
        steps += [step] * (len(log) > len(steps))
    assert steps == [10 * index + 9 for index in said]
    for line in log:
        assert "THE FIT STAYS AT" in line and "--base_lr" in line and "--warmup_steps" in line and "\n" not in line


@pytest.mark.slow
def test_a_run_at_an_absurd_rate_is_told(tmp_path, capsys):
    settings = method().settings_class(
        data="synthetic", rotation="none", widths=(4, 4, 4, 4), batch_size=32, base_lr=300.0, max_steps=40,
        device="cpu", report_freq=5, vali_freq=99, tensorboard=False, train_path=str(tmp_path / "run"),
    )  # fmt: skip
    assert run(method(), settings) == 0
    assert capsys.readouterr().out.count("THE FIT STAYS AT") == 1
    assert (tmp_path / "run" / "log.txt").read_text().count("THE FIT STAYS AT") == 1
