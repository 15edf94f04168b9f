"""The same maps in PyTorch, which is imported only when its maps are asked for."""

import importlib.util
import os

_ORTHOGONAL_MAPS = ("cayley", "householder", "matrix_exp")  # of torch.nn.utils.parametrizations.orthogonal


def competitors():
    """Returns {name: (group, reference, map)} as `tensorflow_maps.competitors` does, of what is installed.

    A map is `build(torch, generator) -> (generator, a leaf that needs a gradient, function without arguments to Q)`.
    """
    if importlib.util.find_spec("torch") is None:
        return {}
    return {
        **{f"torch.{name}": ("torch", None, _parametrized(name)) for name in _ORTHOGONAL_MAPS},
        "torch.qr": ("torch", "gram_schmidt", _qr),
        "torch.svd": ("torch", "lowdin", _svd),
    }


def step_of(job):
    """Returns what torch_step.py needs to know of a `programs.Job`, a dict.

    Raises ValueError if PyTorch is missing, or has no such network or precision.
    """
    from benchmarks import programs

    if importlib.util.find_spec("torch") is None:
        raise ValueError("--against=torch: PyTorch is not installed here; run pip install torch")
    if job.network != "cnn6":
        raise ValueError(f"--against=torch --networks={job.network}: only cnn6 is written in PyTorch; choose it")
    _, settings = programs.program_of(job)
    if settings.precision not in ("float32", "tf32", "bfloat16"):
        raise ValueError(f"--against=torch --precision={settings.precision}: expected float32, tf32 or bfloat16")
    names = ("widths", "batch_size", "seed", "device", "precision", "base_lr", "momentum", "weight_decay")
    return {**{name: getattr(settings, name) for name in names}, "orthogonal_map": map_for(job.method)}


def map_for(method):
    """Returns the orthogonal_map that a method is compared with; None for ordinary training.

    It is the method's own map, or, if PyTorch does not have that, what PyTorch takes by itself for square matrices.
    """
    from benchmarks import programs

    return None if method == programs.ORDINARY else methods_with_a_map().get(method, "matrix_exp")


def methods_with_a_map():
    """Returns {method: orthogonal_map} of the methods whose map PyTorch has, too."""
    from common.cli import recipe

    factories = {name: method.factories["auto"] for name, method in recipe.methods().items()}
    found = {name: getattr(getattr(own, "rotate", None), "__name__", None) for name, own in factories.items()}
    return {name: own for name, own in found.items() if own in _ORTHOGONAL_MAPS}


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


def orthogonal(torch, generator, orthogonal_map):
    """Returns a square linear layer in torch.nn.utils.parametrizations.orthogonal as it comes, with its base matrix.

    Args:
      torch: the module.
      generator: the start of its parameter [n, n].
      orthogonal_map: "cayley", "householder" or "matrix_exp".
    """
    options = {"dtype": generator.dtype, "device": generator.device}
    if orthogonal_map == "householder":  # its diagonal holds signs, which are rounded to whole numbers
        generator = generator.tril(-1) - torch.eye(len(generator), **options)
    layer = torch.nn.Linear(len(generator), len(generator), bias=False, **options)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(len(generator), **options))
    torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=orthogonal_map)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(generator)
    return layer


def _parametrized(orthogonal_map):
    def build(torch, generator):
        layer = orthogonal(torch, generator, orthogonal_map)
        return layer.parametrizations.weight.original, lambda: layer.weight

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
