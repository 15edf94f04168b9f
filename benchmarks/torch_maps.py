"""The same maps in PyTorch and geotorch: the one file that imports them, and only when they are asked for."""

import dataclasses
import importlib.util
import os


@dataclasses.dataclass(frozen=True)
class Competitor:
    """What a name stands for: see `tensorflow_maps.Competitor`. Without a `reference`, its own float64 result is it."""

    group: str
    reference: str | None
    build: object
    largest: float = float("inf")


def competitors():
    """Returns {name: Competitor} of what is installed; empty without torch."""
    if importlib.util.find_spec("torch") is None:
        return {}
    known = {
        "torch.cayley": Competitor("torch", None, "cayley"),
        "torch.householder": Competitor("torch", None, "householder"),
        "torch.matrix_exp": Competitor("torch", None, "matrix_exp"),
        "torch.qr": Competitor("torch", "gram_schmidt", "qr"),
        "torch.svd": Competitor("torch", "lowdin", "svd"),
    }
    if importlib.util.find_spec("geotorch") is not None:
        known["geotorch.orthogonal"] = Competitor("torch", None, "geotorch")
    return known


def prepare():
    """Imports torch and gives it as many threads as TensorFlow takes; no operation is run."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


class Case:
    """A map of torch with its inputs on the device; see `tensorflow_maps.Case`, whose interface it has."""

    nodes = None

    def __init__(self, name, inputs, device="cpu", dtype="float32"):
        import torch

        self._torch, self._cuda = torch, device == "gpu"
        place = {"device": "cuda" if self._cuda else "cpu", "dtype": getattr(torch, dtype)}
        generator, self._weights, self._upstream = [torch.tensor(value, **place) for value in inputs]
        self._generator, self._rotation = _BUILD[competitors()[name].build](torch, generator)
        self._weights.requires_grad_(True)

    def forward(self):
        with self._torch.no_grad():
            self._result = self._rotation() @ self._weights
        self._wait()

    def both(self):
        result = self._rotation() @ self._weights
        self._gradients = self._torch.autograd.grad(result, [self._generator, self._weights], self._upstream)
        self._wait()

    def _wait(self):
        if self._cuda:
            self._torch.cuda.synchronize()

    def gradient(self):
        self.both()
        return self._gradients[0].cpu().numpy()

    def rotation(self):
        with self._torch.no_grad():
            return self._rotation().cpu().numpy()

    def gpu_memory(self):
        self._torch.cuda.reset_peak_memory_stats()
        before = self._torch.cuda.memory_allocated()
        self.both()
        return (self._torch.cuda.max_memory_allocated() - before) / 2.0**20

    def close(self):
        self._gradients = self._result = None


def own_reference(name, inputs):
    """Returns the gradient of P that the same code gives in float64."""
    return Case(name, inputs, dtype="float64").gradient()


# Each returns the generator, a leaf that needs a gradient, and a function without arguments from it to Q.


def _parametrized(orthogonal_map):
    """torch.nn.utils.parametrizations.orthogonal as it comes, with its base matrix, around a square linear layer."""

    def build(torch, generator):
        if orthogonal_map == "householder":  # its diagonal holds signs, which are rounded to whole numbers
            generator = generator.tril(-1) - torch.eye(len(generator), dtype=generator.dtype, device=generator.device)
        layer = _layer(torch, generator)
        torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
        return _with_generator(torch, layer, generator)

    return build


def _geotorch(torch, generator):
    import geotorch

    layer = _layer(torch, generator)
    geotorch.orthogonal(layer)
    layer.weight = torch.eye(len(generator), dtype=generator.dtype, device=generator.device)  # its base is random
    return _with_generator(torch, layer, generator)


def _layer(torch, generator):
    size = len(generator)
    layer = torch.nn.Linear(size, size, bias=False, device=generator.device, dtype=generator.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(size, dtype=generator.dtype))
    return layer


def _with_generator(torch, layer, generator):
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        original.copy_(generator)
    return original, lambda: layer.weight


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


_BUILD = {
    "cayley": _parametrized("cayley"),
    "householder": _parametrized("householder"),
    "matrix_exp": _parametrized("matrix_exp"),
    "qr": _qr,
    "svd": _svd,
    "geotorch": _geotorch,
}
