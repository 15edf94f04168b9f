"""Whether training repeats bit for bit: python -m benchmarks.bits --device=gpu --json=FILE.

With --deterministic, each method trains twice from one seed, and a third time with a stop half-way, whose variables
another session goes on from. All saved variables are compared, slots and averages included.
"""

import dataclasses

import numpy as np

from benchmarks import command, programs, step
from benchmarks.processes import apart, noted
from common import flags
from common.cli import devices
from common.results.tables import EMPTY


@dataclasses.dataclass(frozen=True)
class Settings(step.Settings):
    """Flags of this benchmark: those of `step`, of which some do nothing here, and how long a run is."""

    updates: int = flags.option(20, "updates of each run", minimum=2)


def measure_bits(settings):
    """Yields one row for each network and method."""
    for network, jobs in step.jobs(settings).items():
        for job in jobs:
            job = dataclasses.replace(job, options=(*job.options, ("deterministic", True)))
            found = noted(apart, of_job, job, settings.updates)
            same = step.shared_fields(settings)
            yield {"network": network, "method": job.method, **same, "updates": settings.updates, **found}


def of_job(job, updates):
    """In a fresh process: trains three times; returns how many variables differ in the second and third run."""
    devices.choose(job.device).be_deterministic()
    first, second, half = (_trained(job, count) for count in (updates, updates, updates // 2))
    third = _trained(job, updates - updates // 2, half)
    return {"variables": len(first), "again": _different(first, second), "resumed": _different(first, third)}


def _trained(job, updates, start=None):
    """Returns {name: value} of the saved variables after some updates, from `start` on."""
    training = programs.Training(job)
    if start:
        training.assign(start)
    for _ in range(updates):
        training.step()
    training.check()
    values = training.values()
    training.close()
    return values


def _different(first, second):
    return sum(np.asarray(value).tobytes() != np.asarray(second[name]).tobytes() for name, value in first.items())


def cells(row):
    """Returns {column: text} of a row."""
    texts = {name: f"{row[name]} of {row['variables']}" if name in row else EMPTY for name in ("again", "resumed")}
    return {
        "method": row["method"],
        "network": row["network"],
        "updates": str(row["updates"]),
        "variables that differ in a second run": texts["again"],
        "in a run that was stopped and went on": texts["resumed"],
    }


# All networks are in one table.
BENCHMARK = command.Benchmark("bits", Settings, step.KEY[:-1], measure_bits, step.conditions, cells)

if __name__ == "__main__":
    command.main(BENCHMARK)
