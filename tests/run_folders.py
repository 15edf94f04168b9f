"""Run folders written by hand, as train.py leaves them: for tests of what reads them."""

import json

ENERGY = 0.7
SPEED, BATCH = 320.0, 32
FREEDOM = "weights: 9 trainable of 9; degrees of freedom without gamma and beta: 1234\n"


def write(folder, method="opt_cp", seed=0, errors=((2, 40.0), (4, 20.0)), steps=4, every=1, **flags):
    """Writes a run of `steps` updates with reports after every `every` and validations (updates done, error in %).

    The rate falls from 0.1 to 0.01 for update 3. Energies start at 0.7 and 0.9 in two layers, mean 0.8, and grow by
    0.01 a validation.
    """
    folder.mkdir(parents=True)
    flags = {
        "data": "digits", "model": "cnn6", "widths": "64,64,64,64", "batch_size": BATCH, "seed": seed,
        "train_path": folder, **flags,
    }  # fmt: skip
    flags = {name: value for name, value in flags.items() if value is not None}
    (folder / "flags.txt").write_text(f"# {method}\n" + "".join(f"--{name}={value}\n" for name, value in flags.items()))
    (folder / "log.txt").write_text(f"network CNN-6 on CPU (2 cores), seed {seed}, {steps} updates\n{FREEDOM}step 0\n")
    last = max((updates for updates, _ in errors), default=steps)
    lines = []
    for updates in range(every, last + 1, every):
        metrics = {"total_loss": 500.0 + 1 / updates, "fit": 1 / updates, "error": 100 / updates}
        rate = {"lr": 0.1 if updates < 3 else 0.01, "images_per_second": SPEED}
        lines.append({"step": updates - 1, "split": "train", **metrics, **rate})
    for index, (updates, error) in enumerate(errors):
        lines.append({
            "step": updates - 1, "split": "test", "cross_entropy": error / 10, "error": error, "lr": 0.1,
            "images_per_second": 9.0, "energy_0": {}, "energy_1": energies(index + 1), "orthogonality": {},
        })  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "start.json").write_text(json.dumps({"energy_1": energies(0)}))
    return folder


def energies(index):
    return {"conv1_0": ENERGY + 0.01 * index, "fc6": ENERGY + 0.2 + 0.01 * index}
