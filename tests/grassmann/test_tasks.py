"""The program as a whole: train, go on, test, see, on several devices, on SVHN's files, and wrong input."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.io

from common.cli.program import run
from common.compat import tf
from grassmann.program import Grassmann, Settings

ROOT = pathlib.Path(__file__).parents[2]
ADAM_G = {
    "model": "resnet", "optimizer": "adamg", "grassmann": True, "learnRate": 0.01, "learnRateG": 0.05, "omega": 0.1,
    "grad_clip": 0.1, "weightDecay": 5e-4, "keep_prob": 0.7,
}  # fmt: skip
SMALL = {"data": "synthetic", "batch_size": 8, "crop_size": 16, "device": "cpu"}


def execute(folder, **flags):
    return run(Grassmann(), Settings(train_path=str(folder), **{**ADAM_G, **SMALL, **flags}))


def contents(checkpoint):
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_a_run_is_logged_saved_and_tested(tmp_path, capsys):
    assert execute(tmp_path / "run", max_steps=4, save_freq=2, vali_freq=2, report_freq=1, max_to_keep=2) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "data set synthetic: 512 training and 256 test images" in log
    assert "lr = 0.01, learnRateG = 0.05" in log and "step 3, fit" in log
    said = re.findall(r"validation: (cross_entropy = \d+\.\d{4}, err = \d+\.\d{4} %, err_5 = \d+\.\d{4} %) \(", log)
    assert len(said) == 2
    names = {"group1/conv0/weight/Adamg", "group1/conv0/weight/Adamg_1", "beta1_power", "beta2_power", "global_step"}
    assert names <= set(contents(tmp_path / "run" / "model.ckpt-1")) & set(contents(tmp_path / "run" / "model.ckpt-3"))
    assert execute(tmp_path, task="test", optimizer=None, load=str(tmp_path / "run"), vali_batch_size=77) == 0
    tested = capsys.readouterr().out
    assert f"{tmp_path}/run/model.ckpt-3: 256 test images of synthetic\nvalidation: {said[-1]} (" in tested


@pytest.mark.slow
def test_a_run_goes_on_on_other_devices_as_if_it_had_not_stopped(tmp_path, capsys):
    """Slots and powers come back on every replica: the last checkpoints agree."""
    assert execute(tmp_path / "whole", max_steps=6, save_freq=3, max_to_keep=2) == 0
    assert execute(tmp_path / "rest", max_steps=6, load=str(tmp_path / "whole" / "model.ckpt-2"), num_gpus=2) == 0
    assert "runs on 2 virtual devices" in capsys.readouterr().out
    whole, rest = contents(tmp_path / "whole" / "model.ckpt-5"), contents(tmp_path / "rest" / "model.ckpt-5")
    assert set(whole) == set(rest) and whole["global_step"] == 6
    for name, value in whole.items():
        np.testing.assert_allclose(rest[name], value, rtol=1e-2, atol=2e-3, err_msg=name)  # float32


def test_the_folder_of_a_run_says_what_it_is_and_its_flags_give_it_again(tmp_path):
    flags = {**ADAM_G, **SMALL, "max_steps": 1, "train_dir": str(tmp_path)}
    assert run(Grassmann(), Settings(**flags)) == 0
    (folder,) = tmp_path.iterdir()
    assert re.fullmatch(r"resnet_train_synthetic_adamg_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    lines = (folder / "flags.txt").read_text().splitlines()
    assert {"--learnRateG=0.05", "--grassmann=True", "--data=synthetic", "--batch_size=8", "--seed=0"} <= set(lines)


@pytest.mark.parametrize("grassmann, units", [(True, 7), (False, 0)])
def test_see_lists_every_variable_with_its_place_and_count(grassmann, units, tmp_path, capsys):
    assert execute(tmp_path, task="see", optimizer=None, grassmann=grassmann, verbose=False) == 0
    lines = capsys.readouterr().out.splitlines()
    seen = [match for match in (re.fullmatch(r"([GE]) +(\S+) \[([\d, ]+)\] (\d+)", line) for line in lines) if match]
    assert len(seen) == 25
    for match in seen:
        assert np.prod([int(size) for size in match[3].split(",")]) == int(match[4])
    assert sum(match[1] == "G" for match in seen) == units
    assert sum(int(match[4]) for match in seen) == 77_850
    assert "77850 trainable of" in lines[-1]


def test_see_prints_values_when_verbose(tmp_path, capsys):
    assert execute(tmp_path, task="see", optimizer=None) == 0
    output = capsys.readouterr().out
    assert re.search(r"fc/output/bias \[10\] 10\n\[0\. 0\.", output)


def test_svhn_files_are_trained_on(tmp_path):
    generator = np.random.RandomState(0)
    for name, count in (("train", 20), ("extra", 12), ("test", 7)):
        images = generator.randint(0, 256, [32, 32, 3, count]).astype(np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(tmp_path / f"{name}_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    flags = {"data": "svhn", "data_dir": str(tmp_path), "learnRateDecay": 0.1, "max_steps": 1}
    assert execute(tmp_path / "run", **flags) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "data set svhn: 32 training and 7 test images" in log and "step 0, validation" in log


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"task": "test"}, "--task=test needs --load"),
        ({"load": "nowhere/model.ckpt-1"}, "--load=nowhere/model.ckpt-1: there is no such checkpoint"),
        ({"batch_size": 9, "num_gpus": 2}, "batch of 9 cannot be split evenly over 2 devices"),
        ({"batch_size": 513}, "^--batch_size=513: expected 1 .. 512, the number of training images$"),
        ({"batch_size": 2**31 - 1, "max_steps": 3}, "^--batch_size=2147483647: expected 1 .. 512"),
        ({"data": "cifar10", "data_dir": "nowhere"}, "nowhere does not exist"),
        ({"device": "gpu"}, "TensorFlow finds no GPU here"),
    ],
)
def test_wrong_input_is_named_in_one_line(flags, words, tmp_path):
    if flags.get("device") == "gpu" and tf.config.experimental.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=words) as error:
        execute(tmp_path / "run", **flags)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "--model=resnet --depth=40 --widen_factor=10 --optimizer=adamg --grassmann=True --learnRate=0.01"
        " --learnRateG=0.05 --omega=0.1 --grad_clip=0.1 --weightDecay=0.0005 --keep_prob=0.7 --vali_batch_size=200"
        " --num_gpus=2 --data=synthetic --batch_size=2 --max_steps=1 --crop_size=8 --padding_size=0",
        "--model=vgg19 --optimizer=adamg --grassmann=True --learnRate=0.01 --learnRateG=0.05 --omega=0.1"
        " --grad_clip=0.1 --weightDecay=0.0005 --keep_prob=0.7 --data=synthetic --batch_size=4 --max_steps=1",
        "--model=resnet --depth=28 --widen_factor=10 --optimizer=sgd --learnRate=0.1 --weightDecay=0.0005"
        " --biasDecay=0.0005 --gammaDecay=0.0005 --betaDecay=0.0005 --keep_prob=0.7 --data=synthetic --batch_size=2"
        " --max_steps=1 --crop_size=8 --padding_size=0",
    ],
)
def test_commands_of_the_paper_run(arguments, tmp_path):
    """As printed, but for the data, the batch and the length."""
    done = subprocess.run(
        [sys.executable, "train.py", *arguments.split(), f"--train_dir={tmp_path}"],
        cwd=ROOT / "grassmann",
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "step 0, validation: cross_entropy" in done.stdout
