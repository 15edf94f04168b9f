"""How many operations that cost a kernel a step has, with the algorithms that a GPU fast in float64 gets.

A GPU spends 13 microseconds on each, however small it is. A number here may only be lowered. With 32 filters the sizes
of maps go together as with 64.
"""

import pytest

from benchmarks import profile, programs

MOST = {
    ("cnn6", "ordinary"): 177,
    ("cnn6", "opt_cp"): 279,
    ("cnn6", "opt_gs"): 274,
    ("cnn6", "opt_hr"): 329,
    ("cnn6", "opt_ls"): 778,
    ("cnn6", "opt_ogd"): 255,
    ("cnn6", "opt_or"): 270,
    ("cnn6", "sopt_gs"): 298,
    ("resnet-28-1", "sgd"): 439,
    ("resnet-28-1", "sgdg"): 649,
    ("resnet-28-1", "adamg"): 776,
}
COMPILED = {("cnn6", "ordinary"): 69, ("cnn6", "opt_cp"): 171, ("resnet-28-1", "adamg"): 97}  # with --xla
FAST = [("cnn6", "ordinary"), ("cnn6", "opt_cp")]


@pytest.mark.parametrize(
    "network, method", [pytest.param(*job, marks=[pytest.mark.slow] * (job not in FAST)) for job in MOST]
)
def test_a_step_has_no_more_operations_than_this(network, method):
    found = profile.count(programs.Job(network, method, batch_size=4, width=32, algorithms="gpu"))
    assert 0.95 * MOST[network, method] < found["operations"] <= MOST[network, method], found["kinds"]


@pytest.mark.slow
@pytest.mark.parametrize("network, method", COMPILED)
def test_a_step_that_xla_compiles_has_no_more_operations_than_this(network, method):
    job = programs.Job(network, method, batch_size=4, width=32, algorithms="gpu", options=(("xla", True),))
    found = profile.count(job)
    assert 0.95 * COMPILED[network, method] < found["operations"] <= COMPILED[network, method], found["kinds"]


def test_every_method_is_counted():
    networks = dict.fromkeys(network for network, _ in MOST)
    assert list(MOST) == [(network, method) for network in networks for method in programs.methods(network)]
