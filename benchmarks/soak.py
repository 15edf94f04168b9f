"""A long run of a small network through the real loop: do memory, file handles, threads and step time stay flat?

    python -m benchmarks.soak [--steps=20000] [--json=FILE] [--png=FILE]

Trains a tiny CNN-6 by opt_gs's method on synthetic images, on the CPU, with reports, validations and checkpoints far
more often than usual, and looks at its own process at intervals. Growth is the slope of a straight line, fitted by
least squares to the samples of the second half of the run, times the steps of that half; a run that is as large at its
end as in its middle has none, whatever it took to get going. Exit status 0 if memory, handles and threads are flat,
1 if not. The step time is shown and judged too, but decides nothing: other programs on the machine change it.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import statistics
import sys
import tempfile
import time

from common.cli.program import run
from common.training.callbacks import Callback
from opt_gs.train import METHOD

SAMPLES = 40  # in the whole run
FEWEST_STEPS = 4 * SAMPLES
# Growth over the second half of a run that still counts as flat. What an allocator keeps wanders by a few MiB.
TOLERANCES = {"memory_mib": 8.0, "handles": 0.5, "threads": 0.5, "step_ms": 0.25}
RELATIVE = {"step_ms"}  # share of the mean
DECIDING = ("memory_mib", "handles", "threads")
FORMATS = {"memory_mib": "{:.1f}", "handles": "{:.0f}", "threads": "{:.0f}", "step_ms": "{:.2f}"}


class Watch(Callback):
    """Samples the process every so many steps and prints what it sees.

    Attributes:
      samples: one dictionary a sample: step, memory_mib (resident), handles (open files), threads, step_ms (median
        since the sample before; work between steps, such as checkpoints, so does not count).
    """

    def __init__(self, every, out):
        self._every, self._out = every, out
        self._times, self._before = [], None
        self.samples = []

    def after_step(self, step, values):
        now = time.perf_counter()
        if self._before is not None:
            self._times.append(now - self._before)
        self._before = now
        if (step + 1) % self._every == 0 and self._times:
            sample = {"step": step + 1, **process(), "step_ms": 1e3 * statistics.median(self._times)}
            self._times.clear()
            self.samples.append(sample)
            shown = (FORMATS[name].format(sample[name]) for name in TOLERANCES)
            print(f"{step + 1:>8}" + "".join(f"{text:>14}" for text in shown), file=self._out, flush=True)


class Watched(type(METHOD)):
    """opt_gs's method under a `Watch`."""

    def __init__(self, watch):
        super().__init__("soak", METHOD.map_methods["auto"])
        self._watch = watch

    def callbacks(self, settings, session, training):
        return [*super().callbacks(settings, session, training), self._watch]


def process():
    """Returns resident memory in MiB, open file handles and threads of this process, as Linux counts them."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    handles = len(os.listdir("/proc/self/fd")) - 1  # without that of the listing itself
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"memory_mib": memory, "handles": handles, "threads": len(os.listdir("/proc/self/task"))}


def growth(samples, name):
    """Returns by how much the fitted line rises over the samples of the second half."""
    half = [sample for sample in samples if 2 * sample["step"] >= samples[-1]["step"]]
    steps, values = [sample["step"] for sample in half], [sample[name] for sample in half]
    return statistics.linear_regression(steps, values).slope * (steps[-1] - steps[0])


def verdict(samples):
    """Returns {quantity: {"growth", "tolerance", "flat"}}."""
    result = {}
    for name, tolerance in TOLERANCES.items():
        scale = statistics.mean(sample[name] for sample in samples) if name in RELATIVE else 1.0
        grown = growth(samples, name)
        result[name] = {"growth": grown, "tolerance": tolerance * scale, "flat": grown <= tolerance * scale}
    return result


def soak(steps, folder, out=sys.stdout):
    """Trains for `steps` updates in `folder` and returns the samples and the verdict."""
    watch = Watch(max(1, steps // SAMPLES), out)
    settings = dataclasses.replace(
        METHOD.settings_class(data="synthetic", device="cpu", widths=(4, 4, 4, 4), batch_size=8, max_steps=steps),
        base_lr=0.01,
        vali_batch_size=256,
        report_freq=max(1, steps // 2000),
        vali_freq=max(1, steps // 100),
        save_freq=max(1, steps // 100),
        train_path=os.path.join(folder, "run"),
    )
    print(f"{'step':>8}" + "".join(f"{name:>14}" for name in TOLERANCES), file=out, flush=True)
    with contextlib.redirect_stdout(io.StringIO() if out is sys.stdout else sys.stdout) as said:
        status = run(Watched(watch), settings)
    if status:
        raise ValueError(f"the run ended with status {status}: {said.getvalue().splitlines()[-1]}")
    return watch.samples, verdict(watch.samples)


def plot(samples, path):
    """Draws the four curves into a PNG; returns whether matplotlib is there to do so."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(TOLERANCES), 1, sharex=True, figsize=(8, 9))
    for axis, name in zip(axes, TOLERANCES):
        axis.plot([sample["step"] for sample in samples], [sample[name] for sample in samples])
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path)
    return True


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help=f"updates, at least {FEWEST_STEPS}")
    parser.add_argument("--json", help="file for the samples and the verdict")
    parser.add_argument("--png", help="file for the curves, a PNG; needs matplotlib")
    options = parser.parse_args(arguments)
    if options.steps < FEWEST_STEPS:
        parser.error(f"--steps={options.steps}: expected at least {FEWEST_STEPS}")
    with tempfile.TemporaryDirectory(prefix="soak.") as folder:
        samples, judged = soak(options.steps, folder)
    for name, result in judged.items():
        word = "flat" if result["flat"] else "GROWS" if name in DECIDING else "slower"
        print(f"{name}: {result['growth']:+.3f} over the second half, at most {result['tolerance']:.3f}: {word}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"steps": options.steps, "samples": samples, "verdict": judged}, file, indent=1)
    if options.png and not plot(samples, options.png):
        print("no plot: matplotlib is not installed")
    return 0 if all(judged[name]["flat"] for name in DECIDING) else 1


if __name__ == "__main__":
    sys.exit(main())
