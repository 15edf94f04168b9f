"""What the cluster's benchmark shows: its tables, the model's figures worked out, and a plot of them."""

from benchmarks import cluster_model as model
from benchmarks import report
from benchmarks.cluster_pair import STREAM_BYTES
from benchmarks.report import Column


def _million(field):
    return lambda row: f"{row[field] / 1e6:,.3g}" if row.get(field) else report.EMPTY


_EXCHANGE_COLUMNS = (
    Column("buffer of float32", report.text("case")),
    Column("numbers, million", _million("numbers")),
    Column("all-reduce of 2 processes, ms", report.times()),
    Column("lower bound, ms", lambda row: report.significant(row["bound_ms"])),
    Column("of the bound", report.number("of_bound", ".1f")),
)
_STEP_COLUMNS = (
    Column("step", report.text("case")),
    Column("setup", report.text("setup")),
    Column("ms", report.times()),
    Column("speed-up", report.number("speed_up", ".2f")),
)
_MAPS_COLUMNS = (
    *_STEP_COLUMNS[:3],
    Column("of every map everywhere, times as fast", report.number("speed_up", ".2f")),
)
_KINDS = ("loopback", "exchange", "step", "maps", "model")
_MODEL_COLUMNS = (
    Column("step", report.text("case")),
    Column("precision", report.text("precision")),
    Column("GFLOP", report.number("giga", ",.0f")),
    Column("computes, ms", report.number("milliseconds", ",.3g")),
    Column("exchanged, MB", report.number("megabytes", ",.3g")),
    Column("all-reduces", report.text("collectives")),
    *[
        Column(f"{kind}, R = {gpus:,}", report.number(f"{kind} {gpus}", ".1%"))
        for kind in ("ring", "tree", "no sync_bn")
        for gpus in model.SIZES
    ],
)


def predicted(row, precision):
    """Returns a row of the model's table: efficiencies by `model.efficiency`.

    "no sync_bn" is a ring that has only the buffer of gradients to go round.
    """
    seconds = model.step_seconds(row["operations"], precision)
    figures = {
        **row,
        "precision": precision,
        "giga": row["operations"] / 1e9,
        "milliseconds": 1e3 * seconds,
        "megabytes": 4e-6 * row["numbers"],
    }
    for gpus in model.SIZES:
        link = model.link(gpus)
        count = row["collectives"]
        sizes = {"ring": ("numbers", count, model.ring), "tree": ("numbers", count, model.tree)}
        sizes["no sync_bn"] = ("largest", 1, model.ring)
        for kind, (field, count, hops) in sizes.items():
            share = model.efficiency(seconds, 4 * row[field], gpus, link.rate, link.latency, count, hops)
            figures[f"{kind} {gpus}"] = share
    return figures


def tables(rows):
    """Returns the tables of the parts that there are rows of."""
    of_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in _KINDS}
    parts = [
        f"{row['case']} through the loopback interface: {row['bytes_per_second'] / 1e9:.3g} GB/s "
        f"({report.significant(row['ms'])} ms for {STREAM_BYTES >> 20} MiB).\n"
        for row in of_kind["loopback"]
    ]
    if of_kind["exchange"]:
        parts.append(report.table(of_kind["exchange"], _EXCHANGE_COLUMNS))
    if of_kind["step"]:
        by_case = sorted(of_kind["step"], key=lambda row: row["case"])  # a run may have added setups later
        parts.append(report.table(by_case, _STEP_COLUMNS))
    if of_kind["maps"]:
        parts.append(report.table(of_kind["maps"], _MAPS_COLUMNS))
    if of_kind["model"]:
        lines = [predicted(row, precision) for row in of_kind["model"] for precision in model.PEAKS]
        parts.append(report.table(lines, _MODEL_COLUMNS))
    return "\n".join(parts)


def plot(rows, path):
    """Writes the model's efficiencies over the number of GPUs, rings in float32 and bfloat16."""
    rows = [row for row in rows if row["kind"] == "model"]
    shape, (axis,) = report.figure()
    for row in rows:
        for precision, style in zip(model.PEAKS, ("-", "--")):
            line = predicted(row, precision)
            shares = [100 * line[f"ring {gpus}"] for gpus in model.SIZES]
            axis.plot(model.SIZES, shares, style, marker="o", label=f"{row['case']}, {precision}")
    axis.set(title="efficiency on paper (ring, sync_bn)", xlabel="GPUs", ylabel="%", xscale="log", ylim=(0, 100))
    axis.set_xticks(model.SIZES, [str(gpus) for gpus in model.SIZES])
    axis.legend(fontsize=7)
    report.save(shape, path)
