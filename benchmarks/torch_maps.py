"""The same maps in PyTorch: the one file that imports it, and only when its maps are asked for."""

import importlib.util
import os


def competitors():
    """Returns {name: (group, reference, map)} as `tensorflow_maps.competitors` does, of what is installed.

    A map is `build(torch, generator) -> (generator, a leaf that needs a gradient, function without arguments to Q)`.
    """
    if importlib.util.find_spec("torch") is None:
        return {}
    return {
        "torch.cayley": ("torch", None, _parametrized("cayley")),
        "torch.householder": ("torch", None, _parametrized("householder")),
        "torch.matrix_exp": ("torch", None, _parametrized("matrix_exp")),
        "torch.qr": ("torch", "gram_schmidt", _qr),
        "torch.svd": ("torch", "lowdin", _svd),
    }


def prepare():
    """Imports torch and gives it as many threads as TensorFlow takes; no operation is run."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


class Case:
    """A map of torch with its inputs on the device; see `tensorflow_maps.Case`, whose interface it has."""

    nodes = None

    def __init__(self, name, inputs, device="cpu"):
        import torch

        self._torch, self._cuda = torch, device == "gpu"
        options = {"device": "cuda" if self._cuda else "cpu", "dtype": torch.float32}
        generator, self._weights, self._upstream = [torch.tensor(value, **options) for value in inputs]
        self._generator, self._rotation = competitors()[name][2](torch, generator)
        self._weights.requires_grad_(True)

    def forward(self):
        with self._torch.no_grad():
            self._result = self._rotation() @ self._weights
        self._wait()

    def both(self):
        self._result = self._rotation() @ self._weights
        self._gradients = self._torch.autograd.grad(self._result, [self._generator, self._weights], self._upstream)
        self._wait()

    def _wait(self):
        if self._cuda:
            self._torch.cuda.synchronize()

    def results(self):
        self.both()
        return self._result.detach().cpu().numpy(), self._gradients[0].cpu().numpy()

    def memory(self):
        """Returns None: torch keeps no count on a CPU."""
        return None

    def close(self):
        self._gradients = self._result = None


def _parametrized(orthogonal_map):
    """torch.nn.utils.parametrizations.orthogonal as it comes, with its base matrix, around a square linear layer."""

    def build(torch, generator):
        options = {"dtype": generator.dtype, "device": generator.device}
        if orthogonal_map == "householder":  # its diagonal holds signs, which are rounded to whole numbers
            generator = generator.tril(-1) - torch.eye(len(generator), **options)
        layer = torch.nn.Linear(len(generator), len(generator), bias=False, **options)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(len(generator), **options))
        torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
        original = layer.parametrizations.weight.original
        with torch.no_grad():
            original.copy_(generator)
        return original, lambda: layer.weight

    return build


def _qr(torch, generator):
    def rotation():
        factor, triangle = torch.linalg.qr(generator.mT)
        return (factor * torch.sign(triangle.diagonal())).mT

    return generator.requires_grad_(True), rotation


def _svd(torch, generator):
    def rotation():
        left, _, right = torch.linalg.svd(generator)
        return left @ right

    return generator.requires_grad_(True), rotation
