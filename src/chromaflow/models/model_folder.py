"""The model folder: weights and what rebuilds the model around them, and nothing that runs code."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from chromaflow.color.codebooks.registry import build_codebook
from chromaflow.errors import ModelError
from chromaflow.models import build_network
from chromaflow.models.colorizer import Colorizer
from chromaflow.project import files
from chromaflow.refine import REFINEMENTS
from chromaflow.settings.system import LEAST_SIZE, SIZE

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
FORMAT = 3
_WITHOUT_SIZE = 2
"""The format of a model that is used at the default size, which its description leaves out."""
_REMEDY = "take a model folder that chromaflow has written, or run chromaflow train"


def save_model(model: Colorizer, folder: Path) -> None:
    """Write a model folder, all of it or nothing; the same model gives the same bytes.

    Args:
        model: On any device.
        folder: Replaced where it exists.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with files.atomic_folder(folder) as temporary:
        # The format's own metadata has no fixed order of keys, so it stays empty.
        (temporary / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
        files.write_json(temporary / DESCRIPTION, _describe(model))


def _describe(model: Colorizer) -> dict[str, Any]:
    """What `model.json` holds; a model of the default size keeps its digest across the formats."""
    description = {"format": FORMAT, **model.config()}
    if model.size == SIZE:
        description["format"] = _WITHOUT_SIZE
        del description["size"]
    return description


def read_description(folder: Path) -> dict[str, Any]:
    """The network, codebook, refinement and size of a model folder, of either format.

    Raises:
        ModelError: A file that cannot be read, of another format or without one of the four.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", _REMEDY) from None
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}", _REMEDY) from None
    description: dict[str, Any] = content if isinstance(content, dict) else {}
    found = description.get("format")
    if found == _WITHOUT_SIZE:
        description |= {"format": FORMAT, "size": SIZE}
    elif found != FORMAT:
        raise ModelError(
            f"{path} has format {found!r}; "
            f"this chromaflow reads formats {_WITHOUT_SIZE} and {FORMAT}.",
            "upgrade chromaflow, or retrain the model",
        )
    if description.get("refine") not in REFINEMENTS:
        known = ", ".join(REFINEMENTS)
        raise ModelError(f"{path} has no valid refine; available: {known}.", _REMEDY)
    size = description.get("size")
    if type(size) is not int or size < LEAST_SIZE:
        raise ModelError(f"{path} has no size of {LEAST_SIZE} pixels or more.", _REMEDY)
    for part in ("network", "codebook"):
        settings = description.get(part)
        if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
            raise ModelError(f"{path} has no {part}.", _REMEDY)
    return description


def _build(description: dict[str, Any], path: Path) -> Colorizer:
    network, codebook = dict(description["network"]), dict(description["codebook"])
    try:
        book = build_codebook(**codebook)
        net = build_network(network.pop("name"), book.channels, **network)
        model = Colorizer(net, book, description["refine"], description["size"])
    except ModelError as error:
        raise ModelError(f"{path}: {error.problem}", error.remedy or _REMEDY) from None
    except TypeError as error:
        raise ModelError(f"{path} is invalid: {error}", _REMEDY) from None
    if {"format": FORMAT, **model.config()} != description:
        raise ModelError(
            f"{path} does not match the settings of its network and codebook.", _REMEDY
        )
    return model


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}", _REMEDY) from None


def _list(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_weights(tensors: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> None:
    remedy = "put model.json and weights.safetensors of the same training together"
    for names, what in (
        (own.keys() - tensors.keys(), "lacks"),
        (tensors.keys() - own.keys(), "also holds"),
    ):
        if names:
            raise ModelError(
                f"{path} does not match {DESCRIPTION}: it {what} {_list(set(names))}.",
                remedy,
            )
    other = {
        n for n, t in own.items() if t.shape != tensors[n].shape or t.dtype != tensors[n].dtype
    }
    if other:
        raise ModelError(
            f"{path} does not match {DESCRIPTION}: other sizes of {_list(other)}.",
            remedy,
        )
    broken = {
        n for n, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())
    }
    if broken:
        raise ModelError(
            f"{path} holds values that are not numbers in {_list(broken)}.", "retrain the model"
        )


def load_model(folder: Path, device: str | torch.device = "cpu") -> Colorizer:
    """Read a model folder, in evaluation mode.

    Args:
        folder: With `model.json` and `weights.safetensors`.
        device: Where the model goes.

    Raises:
        ModelError: The folder or a file of it is missing or broken, of another format, of another
            recipe than it states, or holds values that are not numbers.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}.", _REMEDY)
    description = read_description(folder)
    tensors = _read_weights(folder / WEIGHTS)
    model = _build(description, folder / DESCRIPTION)
    _check_weights(tensors, model.state_dict(), folder / WEIGHTS)
    model.load_state_dict(tensors)
    return model.eval().to(device)


def model_digest(folder: Path, *, exact: bool = True) -> str:
    """The model's name in registry, signature and audit: 64 hexadecimal digits over both files.

    Args:
        folder: With `model.json` and `weights.safetensors`.
        exact: Refuse a folder that holds anything else.

    Raises:
        ModelError: One of the two files is missing, or there is another one.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    own = {DESCRIPTION, WEIGHTS}
    if names != own and (exact or not own <= names):
        found = _list(names) or "nothing"
        raise ModelError(
            f"{folder} must hold {DESCRIPTION} and {WEIGHTS}, but holds {found}.", _REMEDY
        )
    return files.digest_of(folder, [folder / name for name in own])
