"""What every test shares: a small project of its own, real photographs, no telemetry."""

import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

import chromaflow  # noqa: F401  (turns the telemetry of the libraries off before they load)
from chromaflow import settings
from chromaflow.project.paths import Project

if TYPE_CHECKING:
    import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run: a failure is of the change that it is seen with.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> "torch.device":
    """The CPU, and a GPU where there is one."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device(request.param)


@pytest.fixture(params=["float64", "float32", "float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> "torch.dtype":
    """Every precision in which pictures may come."""
    import torch

    found: torch.dtype = getattr(torch, request.param)
    return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty checkout with the default settings."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    made = Project(tmp_path)
    settings.save(made, settings.Settings())
    return made


@pytest.fixture(scope="session")
def one_onnx_registry() -> Iterator[None]:
    """Let torch's exporter read its 500 operators once: most of its time here."""
    from torch.onnx._internal.exporter import _registration

    with pytest.MonkeyPatch.context() as patch:
        kind = _registration.ONNXRegistry
        patch.setattr(kind, "from_torchlib", staticmethod(functools.cache(kind.from_torchlib)))
        yield
