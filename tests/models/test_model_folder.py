import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from chromaflow.errors import ModelError
from chromaflow.models import Colorizer, build_model
from chromaflow.models.model_folder import load_model, model_digest, save_model
from chromaflow.settings import Model


@pytest.fixture(scope="module")
def model() -> Colorizer:
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"width": 0.0625, "weights": "none"},
            "codebook": {"temperature": 0.5, "rebalance": 0.25},
        }
    )
    return build_model(settings).eval()


@pytest.fixture
def folder(model: Colorizer, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, part: str, **values: object) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    (description[part] if part else description).update(values)
    path.write_text(json.dumps(description))


def change_tensors(folder: Path, **tensors: torch.Tensor | None) -> None:
    path = folder / "weights.safetensors"
    own = safetensors.torch.load_file(path)
    own |= {name.replace("__", "."): t for name, t in tensors.items() if t is not None}
    for name in (name.replace("__", ".") for name, t in tensors.items() if t is None):
        del own[name]
    safetensors.torch.save_file(own, path)


def test_a_saved_model_predicts_the_same(model: Colorizer, folder: Path) -> None:
    loaded = load_model(folder)
    lightness = torch.rand(1, 1, 32, 64) * 100
    with torch.inference_mode():
        assert torch.equal(loaded.predict_ab(lightness), model.predict_ab(lightness))
    assert not loaded.training
    assert loaded.config() == model.config()


OLDER = """{
  "codebook": {
    "ab_range": 110.0,
    "bounded": true,
    "name": "regression"
  },
  "format": 2,
  "network": {
    "name": "iizuka",
    "scenes": 0,
    "width": 0.0625
  },
  "refine": "none"
}
"""
"""As the first chromaflow wrote it, whose settings had no kinds."""


def test_a_model_of_an_older_chromaflow_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    settings = Model.model_validate(
        {
            "network": {"name": "iizuka", "width": 0.0625},
            "codebook": {"name": "regression", "ab_range": 110.0},
        }
    )
    save_model(build_model(settings), tmp_path / "model")
    written = (tmp_path / "model" / "model.json").read_text()
    assert written == OLDER
    older = json.loads(OLDER)
    del older["format"]
    assert load_model(tmp_path / "model").config() == {**older, "size": 256}


def test_the_same_model_gives_the_same_bytes(
    model: Colorizer, folder: Path, tmp_path: Path
) -> None:
    digest = model_digest(folder)
    save_model(load_model(folder), tmp_path / "again")
    assert model_digest(tmp_path / "again") == digest
    assert len(digest) == 64
    assert {path.name for path in folder.iterdir()} == {"model.json", "weights.safetensors"}


def test_another_weight_gives_another_digest(model: Colorizer, folder: Path) -> None:
    digest = model_digest(folder)
    change_tensors(folder, network__head__bias=torch.ones(313))
    assert model_digest(folder) != digest


def test_a_model_of_the_default_size_is_written_in_the_format_without_it(folder: Path) -> None:
    description = json.loads((folder / "model.json").read_text())
    assert description["format"] == 2
    assert "size" not in description
    assert load_model(folder).size == 256


def test_another_size_is_kept(model: Colorizer, tmp_path: Path) -> None:
    model.size = 96
    save_model(model, tmp_path / "model")
    assert json.loads((tmp_path / "model/model.json").read_text())["format"] == 3
    assert load_model(tmp_path / "model").size == 96


def test_what_else_lies_in_a_folder_is_refused_where_it_must_be_exact(folder: Path) -> None:
    digest = model_digest(folder)
    (folder / "model.sig").write_text("")
    with pytest.raises(ModelError, match=r"but holds model\.json, model\.sig"):
        model_digest(folder)
    assert model_digest(folder, exact=False) == digest
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"must hold model\.json and weights\.safetensors"):
        model_digest(folder, exact=False)


def test_saving_replaces_a_folder(model: Colorizer, folder: Path) -> None:
    (folder / "stale").write_text("")
    save_model(model, folder)
    assert not (folder / "stale").exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "model.json").unlink(), ["model.json", "cannot be read"]),
        (lambda f: (f / "weights.safetensors").unlink(), ["weights.safetensors", "cannot be read"]),
        (lambda f: (f / "model.json").write_text("{"), ["model.json", "JSON"]),
        (lambda f: (f / "model.json").write_text("[]"), ["model.json", "format None"]),
        (lambda f: change(f, "", format=1), ["format 1", "reads formats 2 and 3"]),
        (lambda f: change(f, "", network=3), ["has no network"]),
        (lambda f: change(f, "network", name="resnet"), ["unknown network", "did you mean"]),
        (lambda f: change(f, "network", name=["resnet"]), ["has no network"]),
        (lambda f: change(f, "codebook", name="grid33"), ["unknown codebook", "grid313"]),
        (lambda f: change(f, "", refine="sharpen"), ["has no valid refine"]),
        (lambda f: change(f, "", format=3, size=31), ["has no size of 32 pixels or more"]),
        (lambda f: change(f, "", format=3, size=64.5), ["has no size"]),
        (lambda f: change(f, "", format=3, size=True), ["has no size"]),
        (lambda f: change(f, "network", depth=3), ["no size depth", "width"]),
        (lambda f: change(f, "network", weights="none"), ["does not match the settings"]),
        (lambda f: change(f, "network", width=10**9), ["width = 1000000000"]),
        (
            lambda f: change(f, "network", width=0.125),
            ["does not match model.json", "other sizes of network."],
        ),
        (
            lambda f: change(f, "network", folded=True),
            ["does not match model.json", "lacks network.backbone."],
        ),
        (lambda f: change_tensors(f, network__head__bias=None), ["lacks network.head.bias"]),
        (lambda f: change_tensors(f, extra=torch.ones(1)), ["also holds extra"]),
        (
            lambda f: change_tensors(f, network__head__bias=torch.ones(313).double()),
            ["other sizes of network.head.bias"],
        ),
        (
            lambda f: change_tensors(f, network__head__bias=torch.full((313,), torch.nan)),
            ["not numbers in network.head.bias"],
        ),
        (
            lambda f: (f / "weights.safetensors").write_bytes(
                (f / "weights.safetensors").read_bytes()[:-9]
            ),
            ["weights.safetensors", "cannot be read"],
        ),
        (
            lambda f: (f / "weights.safetensors").write_bytes(b"\xff" * 64),
            ["weights.safetensors", "cannot be read"],
        ),
    ],
)
def test_a_spoiled_folder_is_told(folder: Path, spoil: object, words: list[str]) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(ModelError) as raised:
        load_model(folder)
    for word in words:
        assert word in str(raised.value)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        load_model(tmp_path / "none")
    with pytest.raises(ModelError, match="holds nothing"):
        model_digest(tmp_path / "none")


def test_a_folder_with_something_else_has_no_digest(folder: Path) -> None:
    (folder / "run_me.py").write_text("")
    with pytest.raises(ModelError, match=r"run_me\.py"):
        model_digest(folder)
