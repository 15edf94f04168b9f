"""What a training step is made of: where its operations are placed, its kernels, and its copies between host and GPU.

python -m benchmarks.profile --device=gpu --networks=cnn6,resnet-28-10 --json=FILE
python -m benchmarks.profile --algorithms=gpu --networks=cnn6,resnet-28-1 --batch_size=4

The second counts on a CPU what a GPU that is fast in float64 would execute. Times are not taken, so the batch may be
small: how many operations a step has does not depend on it. It depends on the filters where sizes of maps go together:
with --width=32 they do as with 64, with 16 all do.
"""

import collections
import dataclasses
import re
import statistics
import time

from benchmarks import command, programs, step
from benchmarks.processes import apart, noted
from common import flags
from common.results.tables import EMPTY, number

_WARM_UP = 5  # steps before those that are timed, ...
_TIMED = 20  # ... which come before the step that is traced: tracing takes time
_MOST, _MOST_COUNTED = 4, 8  # kinds of operation that are named
# They start no kernel: they compute nothing, stand for values that are elsewhere, or only say what shape these have.
_SILENT = {"NoOp", "Const", "VarHandleOp", "ReadVariableOp", "Identity", "IdentityN", "Placeholder", "StopGradient"}
_SILENT |= {"_Arg", "_Retval", "_Send", "_Recv", "_HostSend", "_HostRecv", "Switch", "_SwitchN", "Merge"}
_SILENT |= {"Reshape", "Shape", "ShapeN", "ExpandDims", "Squeeze", "EnsureShape", "PartitionedCall"}
_SILENT |= {"StatefulPartitionedCall", "If", "StatelessIf", "_XlaCompile", "_XlaMerge"}


@dataclasses.dataclass(frozen=True)
class Settings(step.Settings):
    """Flags of this benchmark: those of `step`, whose times are the ones to compare."""

    algorithms: str = flags.option(
        "auto", "of the maps: the device's own, or on a CPU, only to be counted, those of a GPU", ("auto", "gpu")
    )


def measure_profiles(settings):
    """Yields one row for each network and method."""
    for network, jobs in step.jobs(settings).items():
        for job in jobs:
            if settings.algorithms == "gpu":
                found = noted(apart, count, dataclasses.replace(job, algorithms="gpu"))
            else:
                found = noted(apart, _profile, job)
            same = {**step.shared_fields(settings), "algorithms": settings.algorithms}
            yield {"network": network, "method": job.method, **same, **found}


def _profile(job):
    """In a fresh process: one step of a job, traced after some others."""
    training, times = programs.Training(job), []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - start)
    training.check()
    return {"ms": 1000.0 * statistics.median(times[_WARM_UP:]), **of_step(training.trace())}


def count(job):
    """Returns the operations of one step of a job, {"operations": how many, "kinds": {kind: how many}}."""
    training = programs.Training(job)
    training.step()
    kinds = collections.Counter(kind for kind, _ in _operations(_devices(training.trace()), "CPU"))
    training.check()
    training.close()
    return {"operations": kinds.total(), "kinds": dict(kinds.most_common())}


def of_step(metadata):
    """Returns the numbers of a step from TensorFlow's record of it, a RunMetadata."""
    devices = _devices(metadata)
    placed = {kind: _operations(devices, kind) for kind in ("GPU", "CPU")}
    found = {"on_gpu": len(placed["GPU"]), "on_cpu": len(placed["CPU"])}
    kernels = placed["CPU"]
    if placed["GPU"]:
        nodes = _named(devices, r"/stream:all$")
        kernels = [(node.node_name.rsplit(":", 1)[-1], node.all_end_rel_micros) for node in nodes]
        copies = [node.timeline_label for node in _named(devices, r"/memcpy$")]
        for direction, field in (("H2D", "to_gpu"), ("D2H", "from_gpu")):
            sizes = [int(re.search(r"size:(\d+)", label)[1]) for label in copies if direction in label.split()[0]]
            found |= {field: len(sizes), f"{field}_kib": sum(sizes) / 1024}
    total = collections.Counter()
    for kind, micros in kernels:
        total[kind] += micros
    longest = ", ".join(f"{kind} {micros / 1000:.2f}" for kind, micros in total.most_common(_MOST))
    return {**found, "kernels": len(kernels), "kernels_ms": sum(total.values()) / 1000, "longest": longest}


def _devices(metadata):
    return {device.device: device.node_stats for device in metadata.step_stats.dev_stats}


def _operations(devices, kind):
    """(kind, microseconds) of all operations that a device ran, those of functions among them."""
    nodes = _named(devices, rf"/device:{kind}:\d+$")
    found = [(re.sub(r"(?s).* = (\w+)\(.*", r"\1", node.timeline_label), node.op_end_rel_micros) for node in nodes]
    return [(operation, micros) for operation, micros in found if operation not in _SILENT]


def _named(devices, pattern):
    return [node for name, nodes in devices.items() if re.search(pattern, name) for node in nodes]


def cells(row):
    """Returns {column: text} of a row."""
    if row.get("algorithms") == "gpu":
        kinds = [f"{count} {kind}" for kind, count in list(row.get("kinds", {}).items())[:_MOST_COUNTED]]
        operations = number(row.get("operations"), ",d")
        return {"method": row["method"], "operations": operations, "most of them": ", ".join(kinds) or EMPTY}
    return {
        "method": row["method"],
        "step, ms": number(row.get("ms"), ",.1f"),
        "operations on the GPU": number(row.get("on_gpu"), ",d"),
        "on the CPU": number(row.get("on_cpu"), ",d"),
        "kernels": number(row.get("kernels"), ",d"),
        "their time, ms": number(row.get("kernels_ms"), ",.2f"),
        "most of it, ms": row.get("longest", EMPTY),
        "copies to the GPU": number(row.get("to_gpu"), ",d"),
        "KiB to it": number(row.get("to_gpu_kib"), ",.1f"),
        "copies from the GPU": number(row.get("from_gpu"), ",d"),
        "KiB from it": number(row.get("from_gpu_kib"), ",.1f"),
    }


def title(row):
    """Returns what the rows of one table share, in words."""
    return step.title(row) + (", counted with a GPU's algorithms" if row.get("algorithms") == "gpu" else "")


KEY = (*step.KEY, "algorithms")
BENCHMARK = command.Benchmark("profile", Settings, KEY, measure_profiles, title, cells)

if __name__ == "__main__":
    command.main(BENCHMARK)
