"""Groups of runs: what belongs together, medians and ranges."""

import os

import numpy as np
import pytest

from common.results import groups, runs, tables
from tests import run_folders


def read(tmp_path, *folders):
    return [
        runs.read(str(run_folders.write(tmp_path / str(index), **options))) for index, options in enumerate(folders)
    ]


def test_runs_that_differ_only_in_their_seed_are_one_group(tmp_path):
    same = [{"seed": seed, "device": device, "vali_freq": 5 + seed} for seed, device in enumerate(("cpu", "gpu"))]
    others = [{"base_lr": 0.2}, {"method": "opt_gs"}, {"load": "x"}, {"data": "svhn"}, {"load": "y", "seed": 7}]
    found = groups.grouped(read(tmp_path, *same, *others))
    assert [[run.path[-1] for run in group.runs] for group in found] == [["0", "1"], ["2"], ["3"], ["4", "6"], ["5"]]
    titles = [group.title for group in found]
    assert titles[1] == "opt_cp, CNN-6 64-64-64-64, digits, base_lr 0.2, load none"
    assert titles[2] == "opt_gs, CNN-6 64-64-64-64, digits" and titles[4] == "opt_cp, CNN-6 64-64-64-64, svhn"
    assert len(set(titles)) == len(titles)
    assert [row["method"] for row in tables.texts(found)][1:3] == ["opt_cp, base_lr 0.2, load none", "opt_gs"]


def test_runs_that_begin_at_networks_of_their_own_seeds_are_one_group(tmp_path):
    folders = [{"seed": seed, "fixed": f"/runs/{name}-{seed}"} for name in ("five", "ten") for seed in (1, 12)]
    found = groups.grouped(read(tmp_path, *folders, {"seed": 2, "fixed": "/runs/five-12"}))
    assert [[run.path[-1] for run in group.runs] for group in found] == [["0", "1"], ["2", "3"], ["4"]]
    assert [group.differing for group in found][:2] == [("fixed /runs/five-SEED",), ("fixed /runs/ten-SEED",)]


def test_medians_and_ranges_are_numpys(tmp_path):
    errors = np.random.RandomState(0).uniform(1, 9, (4, 3))  # runs, validations
    folders = [{"seed": seed, "errors": list(zip((2, 3, 4), row))} for seed, row in enumerate(errors.tolist())]
    (group,) = groups.grouped(read(tmp_path, *folders))
    expected = np.stack([np.median(errors, 0), errors.min(0), errors.max(0)], axis=1)
    curve = group.curve(lambda run: run.curve("test", "error"))
    assert [point[0] for point in curve] == [2, 3, 4] and [point[4] for point in curve] == [4, 4, 4]
    np.testing.assert_allclose([point[1:4] for point in curve], expected)
    row = tables.values(group)
    final, best = errors[:, -1], errors.min(axis=1)
    for name, values in (("final_error", final), ("best_error", best)):
        found = [row[name], row[f"{name}_lowest"], row[f"{name}_highest"]]
        np.testing.assert_allclose(found, [np.median(values), values.min(), values.max()], rtol=1e-5)
    assert (row["runs"], row["finished"], row["updates"], row["paper_error"]) == (4, 4, 4, None)
    assert (row["seconds"], row["images_per_second"]) == pytest.approx((0.4, 320.0))


def test_unfinished_runs_do_not_count_beside_finished_ones(tmp_path):
    folders = [{"errors": [(2, 1.0), (4, 30.0)]}, {"seed": 1, "errors": [(2, 50.0)]}]
    (group,) = groups.grouped(read(tmp_path, *folders))
    assert tables.values(group)["final_error"] == 30.0 and tables.values(group)["finished"] == 1
    assert [point[4] for point in group.curve(lambda run: run.curve("test", "error"))] == [2, 1]
    alone = groups.Group(group.names, group.runs[1:])
    assert (tables.values(alone)["final_error"], tables.values(alone)["finished"]) == (50.0, 0)


def test_a_seed_that_was_run_twice_counts_once_by_its_newest_complete_run(tmp_path):
    folders = [
        {"errors": [(4, 10.0)]},
        {"errors": [(4, 20.0)]},
        {"errors": [(2, 30.0)]},
        {"seed": 1, "errors": [(4, 40.0)]},
    ]
    for index, options in enumerate(folders):
        os.utime(run_folders.write(tmp_path / str(index), **options) / "metrics.jsonl", (index, index))
    (group,) = groups.grouped(runs.find([str(tmp_path)]))
    assert [run.path[-1] for run in group.runs] == ["1", "3"]
    row = tables.values(group)
    assert (row["runs"], row["finished"], row["final_error"]) == (2, 2, 30.0)
    assert group.remarks() == [f"seed 0 was run 3 times: {tmp_path}/1 counts, the newest complete one"]
    (unfinished,) = groups.grouped([runs.read(str(tmp_path / "2")), runs.read(str(tmp_path / "2"))])
    assert unfinished.remarks() == [
        f"seed 0 was run 2 times: {tmp_path}/2 counts, the newest; none is complete",
        f"{tmp_path}/2 is unfinished: 2 of 4 updates",
    ]


def test_a_run_of_an_earlier_version_is_of_the_group_of_the_later_defaults(tmp_path):
    """It lacks later flags, and has some that are gone or called otherwise."""
    later = {"lr_scale": "none", "warmup_steps": "0", "sync_bn": "True", "map": "gs", "map_algorithm": "gs"}
    earlier = {"shard_maps": "False", "map_method": "auto"}
    folders = [{"method": "sopt_gs", "seed": seed, **flags} for seed, flags in enumerate((earlier, later))]
    assert [len(group.runs) for group in groups.grouped(read(tmp_path, *folders))] == [2]
    other = runs.read(str(run_folders.write(tmp_path / "other", "sopt_gs", seed=2, **{**later, "warmup_steps": "5"})))
    assert [len(group.runs) for group in groups.grouped([*runs.find([str(tmp_path / "0")]), other])] == [1, 1]
