"""What a training step is made of: where its operations are placed, its kernels, and its copies between host and GPU.

    python -m benchmarks.profile --device=gpu --networks=cnn6,resnet-28-10 --json=FILE --png=FILE
"""

import collections
import dataclasses
import re
import statistics
import time

from benchmarks import command, programs, report, step
from benchmarks.processes import Failed, apart
from benchmarks.report import Column

KEY = step.KEY
_WARM_UP = 5  # steps before those that are timed, ...
_TIMED = 20  # ... which come before the one that is looked at: looking takes time
_MOST = 4  # kinds of operation that are named
# Bookkeeping: they compute nothing, or stand for values that are elsewhere.
_SILENT = {"NoOp", "Const", "VarHandleOp", "ReadVariableOp", "Identity", "IdentityN", "Placeholder", "StopGradient"}
_SILENT |= {"_Arg", "_Retval", "_Send", "_Recv", "_HostSend", "_HostRecv", "Switch", "_SwitchN", "Merge"}


@dataclasses.dataclass(frozen=True)
class Settings(step.Settings):
    """Flags of this benchmark: those of `step`, whose times are the ones to compare."""


def measure_profiles(settings):
    """Yields one row for each network and method."""
    for network, jobs in step.jobs(settings).items():
        for job in jobs:
            try:
                figures = apart(_profile, job)
            except Failed as error:
                figures = {"note": str(error)}
            same = {"batch": settings.batch_size, "xla": settings.xla, "precision": settings.precision}
            yield {"network": network, "method": job.method, **same, **figures}


def _profile(job):
    """In a fresh process: one step of a job, looked at after some others."""
    training, times = programs.Training(job), []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - start)
    training.check()
    return {"ms": 1000.0 * statistics.median(times[_WARM_UP:]), **of_step(training.trace())}


def of_step(metadata):
    """Returns the figures of a step from TensorFlow's record of it, a RunMetadata."""
    devices = {device.device: device.node_stats for device in metadata.step_stats.dev_stats}
    placed = {kind: _operations(devices, kind) for kind in ("GPU", "CPU")}
    figures = {"on_gpu": len(placed["GPU"]), "on_cpu": len(placed["CPU"])}
    if placed["GPU"]:
        kernels = _named(devices, r"/stream:all$")
        times = [(node.node_name.rsplit(":", 1)[-1], node.all_end_rel_micros) for node in kernels]
        figures["beside"] = _most(kind for kind, _ in placed["CPU"])
        copies = [node.timeline_label for node in _named(devices, r"/memcpy$")]
        for direction, field in (("H2D", "to_gpu"), ("D2H", "from_gpu")):
            sizes = [int(re.search(r"size:(\d+)", label)[1]) for label in copies if direction in label.split()[0]]
            figures |= {field: len(sizes), f"{field}_kib": sum(sizes) / 1024}
    else:
        times = placed["CPU"]
    figures |= {"kernels": len(times), "kernels_ms": sum(micros for _, micros in times) / 1000}
    total, count = collections.Counter(), collections.Counter(kind for kind, _ in times)
    for kind, micros in times:
        total[kind] += micros
    figures["longest"] = ", ".join(f"{kind} {micros / 1000:.2f}" for kind, micros in total.most_common(_MOST))
    figures["most"] = ", ".join(f"{kind} {number}" for kind, number in count.most_common(_MOST))
    return figures


def _operations(devices, kind):
    """(kind, microseconds) of all operations that a device ran, those of functions among them."""
    nodes = _named(devices, rf"/device:{kind}:\d+$")
    found = [(re.sub(r"(?s).* = (\w+)\(.*", r"\1", node.timeline_label), node.op_end_rel_micros) for node in nodes]
    return [(operation, micros) for operation, micros in found if operation not in _SILENT]


def _named(devices, pattern):
    return [node for name, nodes in devices.items() if re.search(pattern, name) for node in nodes]


def _most(kinds):
    return ", ".join(f"{kind} {number}" for kind, number in collections.Counter(kinds).most_common(_MOST)) or None


_COLUMNS = (
    Column("method", report.text("method")),
    Column("step, ms", report.number("ms", ",.1f")),
    Column("operations on the GPU", report.number("on_gpu", ",d")),
    Column("on the CPU", report.number("on_cpu", ",d")),
    Column("of these, beside a GPU", report.text("beside")),
    Column("kernels", report.number("kernels", ",d")),
    Column("their time, ms", report.number("kernels_ms", ",.2f")),
    Column("most of it, ms", report.text("longest")),
    Column("most of them", report.text("most")),
    Column("copies to the GPU", report.number("to_gpu", ",d")),
    Column("KiB", report.number("to_gpu_kib", ",.1f")),
    Column("from the GPU", report.number("from_gpu", ",d")),
    Column("KiB", report.number("from_gpu_kib", ",.1f")),
)


def tables(rows):
    """Returns a table for each network, batch size, precision and device."""
    parts = []
    for title in dict.fromkeys(_title(row) for row in rows):
        here = [row for row in rows if _title(row) == title]
        parts.append(f"{title}\n\n{report.table(here, _COLUMNS)}")
        parts += [f"- {row['method']}: {row['note']}\n" for row in here if row.get("note")]
    return "\n".join(parts)


def _title(row):
    return f"{step.title(row)}, {row['device'].upper()}"


def plot(rows, path):
    """Writes bars of the kernels of a step and of their time, a pair of panels for each table."""
    rows = [row for row in rows if row.get("kernels")]
    titles = list(dict.fromkeys(_title(row) for row in rows))
    shape, axes = report.figure(rows=max(len(titles), 1), columns=2)
    for index, title in enumerate(titles):
        here = [row for row in rows if _title(row) == title]
        for axis, field, label in zip(axes[2 * index :], ("kernels", "kernels_ms"), ("kernels", "their time, ms")):
            axis.bar([row["method"] for row in here], [row[field] for row in here], color="C0")
            axis.set(title=title, ylabel=label)
            axis.tick_params(axis="x", rotation=45)
    report.save(shape, path)


BENCHMARK = command.Benchmark("profile", Settings, KEY, measure_profiles, tables, plot, gpu_columns=False)

if __name__ == "__main__":
    command.main(BENCHMARK)
