"""CNN-6 as somebody would write it in PyTorch: what `benchmarks.step --against=torch` measures.

Shapes, batch, loss, momentum and L2 are those of a `programs.Job`, in channels_last. Rotated layers have a fixed W0,
which torch.nn.utils.parametrizations.orthogonal rotates. The batch lies on the device, the same in every step.
Run in a process of its own, which serves its step (see compare.py).
"""

import functools
import json
import math
import sys

import torch

from benchmarks import compare, measure, torch_maps

_CLASSES, _SIDE = 100, 32
_SMOOTHING, _FLOOR = 0.01, 1e-4  # of OPT's loss


class Conv(torch.nn.Module):
    """A conv without bias. Its kernel [m, size * size * inputs] is trained, or fixed and rotated by a square Q."""

    def __init__(self, inputs, filters, size, padding, orthogonal_map):
        super().__init__()
        n = size * size * inputs
        kernel = math.sqrt(2.0 / n) * torch.randn(filters, n)
        self._shape, self._padding, self.rotation = (filters, size, size, inputs), padding, None
        if orthogonal_map:
            self.register_buffer("kernel", kernel)
            self.rotation = torch_maps.orthogonal(torch, torch.randn(n, n), orthogonal_map)
        else:
            self.kernel = torch.nn.Parameter(kernel)

    def forward(self, images):
        kernel = self.kernel
        if self.rotation is not None:
            with torch.autocast(images.device.type, enabled=False):
                kernel = kernel @ self.rotation.weight.T
        # A view, whose numbers lie as channels_last wants them.
        return torch.nn.functional.conv2d(images, kernel.view(self._shape).permute(0, 3, 1, 2), padding=self._padding)


def cnn6(widths, orthogonal_map):
    """Returns CNN-6; all its convs but the last are rotated if there is an `orthogonal_map`."""
    layers, inputs = [], 3
    for width in widths[:3]:
        for channels in (inputs, width):
            norm = torch.nn.BatchNorm2d(width, eps=1e-3)
            layers += [Conv(channels, width, 3, 1, orthogonal_map), norm, torch.nn.ReLU()]
        layers.append(torch.nn.MaxPool2d(2))
        inputs = width
    layers.append(Conv(inputs, widths[3], _SIDE // 8, 0, orthogonal_map))
    layers += [Conv(widths[3], _CLASSES, 1, 0, None), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers)


def loss_of(logits, labels):
    """Cross-entropy of smoothed labels, -sum t log(softmax + floor), the mean over images."""
    share = _SMOOTHING / _CLASSES
    targets = (1.0 - _SMOOTHING) * torch.nn.functional.one_hot(labels, _CLASSES) + share
    return -(targets * torch.log(torch.softmax(logits.float(), 1) + _FLOOR)).sum(1).mean()


class Training:
    """A network, a batch and SGD with momentum, whose weight_decay is the gradient of L2.

    Args:
      job: what compare.py knows of it, a dict.
      images, labels: the batch, [batch, side, side, 3] float32 and [batch] int64.
      compiled: whether torch.compile compiles the network and its loss, forward and backward.
    """

    def __init__(self, job, images, labels, compiled=False):
        device = "cuda" if job["device"] == "gpu" else "cpu"
        self._images, self._labels = images.permute(0, 3, 1, 2).to(device), labels.to(device)
        self.network = cnn6(job["widths"], job["orthogonal_map"]).to(device)
        self._low = job["precision"] == "bfloat16"
        self._loss = torch.compile(self._forward) if compiled else self._forward
        options = {"lr": job["base_lr"], "momentum": job["momentum"], "weight_decay": job["weight_decay"]}
        rotated = [own for name, own in self.network.named_parameters() if "rotation" in name]
        others = [own for name, own in self.network.named_parameters() if "rotation" not in name]
        # PyTorch's Householder rounds signs, 1 and -1, towards 0 in every step: decay would make them 0.
        own = {"params": rotated, **({"weight_decay": 0.0} if job["orthogonal_map"] == "householder" else {})}
        self._optimizer = torch.optim.SGD([{"params": others}, *([own] if rotated else [])], **options, fused=True)

    def _forward(self, images, labels):
        with torch.autocast(images.device.type, torch.bfloat16, self._low):
            logits = self.network(images)
        return loss_of(logits, labels)

    def step(self):
        """Does one update and returns the fit loss before it."""
        self._optimizer.zero_grad()
        loss = self._loss(self._images, self._labels)
        loss.backward()
        self._optimizer.step()
        return loss.item()  # waits for a GPU


def _build(job, compiled):
    """What `compare.serve` asks for."""
    torch_maps.prepare()
    torch.manual_seed(job["seed"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job["precision"] == "tf32"
    size = job["batch_size"]
    images, labels = torch.randn(size, _SIDE, _SIDE, 3), torch.randint(_CLASSES, (size,))
    training = Training(job, images, labels, compiled)
    training.step()
    return {"map": job["orthogonal_map"]}, lambda: measure.sample(training.step), dict


if __name__ == "__main__":
    compare.serve(functools.partial(_build, json.loads(sys.argv[1]), "compile" in sys.argv[2:]))
