"""What an exported network says in PyTorch: python scores_in_torch.py FOLDER IMAGES.npy"""

import json
import pathlib
import sys

import numpy as np
import torch
from torch.nn.functional import batch_norm, conv2d, max_pool2d, pad


def scores_of(folder, images):
    """Scores [batch, classes] of images, uint8 [batch, height, width, channels] as in the files."""
    model = json.loads(pathlib.Path(folder, "model.json").read_text(encoding="utf-8"))
    arrays = {name: torch.from_numpy(array) for name, array in np.load(pathlib.Path(folder, "model.npz")).items()}
    given = model["input"]
    top, left, height, width = (given["crop"][name] for name in ("top", "left", "height", "width"))
    images = torch.from_numpy(images[:, top : top + height, left : left + width]).float()
    images = (images - torch.tensor(given["offset"])) / torch.tensor(given["scale"])
    results = {given["name"]: images.permute(0, 3, 1, 2)}  # PyTorch has the channels first
    for layer in model["layers"]:
        x, *others = (results[name] for name in layer["inputs"])
        own = {part: arrays[name] for part, name in layer["arrays"].items()}
        if "padding" in layer:
            top, bottom, left, right = layer["padding"]
            x = pad(x, (left, right, top, bottom), value=-torch.inf if layer["type"] == "max_pool" else 0.0)
        match layer["type"]:
            case "conv":
                x = conv2d(x, own["weight"].permute(3, 2, 0, 1), own.get("bias"), layer["stride"])
            case "batch_norm":
                x = batch_norm(x, own["mean"], own["variance"], own["gamma"], own["beta"], eps=layer["epsilon"])
            case "relu":
                x = x.relu()
            case "max_pool":
                x = max_pool2d(x, layer["size"], layer["stride"])
            case "add":
                x = x + others[0]
            case "mean":
                x = x.mean(dim=(2, 3))
            case "flatten":
                x = x.permute(0, 2, 3, 1).flatten(1)  # height, width, channels
            case "dense":
                x = x @ own["weight"] + own.get("bias", 0.0)
        results[layer["name"]] = x
    return x


scores = scores_of(sys.argv[1], np.load(sys.argv[2]))
print(scores.argmax(dim=1))
