"""How many operations that cost a kernel a step has, with the algorithms that a GPU fast in float64 gets.

A GPU spends 13 microseconds on each, however small it is. A number here may only be lowered. It depends on neither the
batch nor the filters.
"""

import pytest

from benchmarks import profile, programs

MOST = {
    ("cnn6", "ordinary"): 215,
    ("cnn6", "opt_cp"): 343,
    ("cnn6", "opt_gs"): 355,
    ("cnn6", "opt_hr"): 400,
    ("cnn6", "opt_ls"): 1405,
    ("cnn6", "opt_ogd"): 413,
    ("cnn6", "opt_or"): 308,
    ("cnn6", "sopt_gs"): 379,
    ("resnet-28-1", "sgd"): 574,
    ("resnet-28-1", "sgdg"): 1651,
    ("resnet-28-1", "adamg"): 2305,
}
FAST = [("cnn6", "ordinary"), ("cnn6", "opt_cp")]


@pytest.mark.parametrize(
    "network, method", [pytest.param(*job, marks=[pytest.mark.slow] * (job not in FAST)) for job in MOST]
)
def test_a_step_has_no_more_operations_than_this(network, method):
    found = profile.count(programs.Job(network, method, batch_size=4, width=16, algorithms="gpu"))
    assert 0.95 * MOST[network, method] < found["operations"] <= MOST[network, method], found["kinds"]


def test_every_method_is_counted():
    networks = dict.fromkeys(network for network, _ in MOST)
    assert list(MOST) == [(network, method) for network in networks for method in programs.methods(network)]
