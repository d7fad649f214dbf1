"""What a network is made of and what it learned, typed: torch knows neither before it runs."""

from typing import TypeVar

from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def layer(network: nn.Module, path: str, kind: type[Layer]) -> Layer:
    """The layer of a network at a path such as `up.0.1`, which must be of a kind."""
    found = network.get_submodule(path)
    assert isinstance(found, kind), f"{path} is {type(found).__name__}"
    return found


def layers(network: nn.Module, path: str, kind: type[Layer]) -> list[Layer]:
    """Every layer of a list of layers at a path; each must be of a kind."""
    names = [name for name, _ in network.get_submodule(path).named_children()]
    return [layer(network, f"{path}.{name}", kind) for name in names]


def gradient(tensor: Tensor) -> Tensor:
    """The gradient of a leaf, which it must have."""
    assert tensor.grad is not None
    return tensor.grad
