"""Every way to color a picture gives the same one.

The tolerance is the rounding of the file format: none where a file keeps every level, as PNG and
TIFF do; what the encoder makes of the same picture where it does not, as JPEG and WebP.

ONNX Runtime adds in another order than torch, so that a color may be rounded to the next of 256
levels. A color that sRGB lacks loses chroma by whole 256ths: one pixel in a hundred thousand is so
near to the next step that it takes that.
"""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.color import rgb2gray, rgb2lab
from typer.testing import CliRunner

from chromaflow.cli import main
from chromaflow.colorize.predictor import ColorOptions, Predictor
from chromaflow.colorize.read import read_photo
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.settings import Model

Levels = NDArray[np.uint8] | NDArray[np.uint16]
SIZE = 96
ANOTHER_STEP = 1e-4  # most of the pixels that may take another step


def grey_of(rgb: Levels) -> Levels:
    grey: Levels = (rgb2gray(rgb) * 255).round().astype(np.uint8) if rgb.ndim == 3 else rgb
    return grey


@pytest.fixture(scope="module")
def photographs() -> dict[str, Levels]:
    """Photographs of several shapes, and all levels from black to white."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    names = ("astronaut", "chelsea", "coffee", "camera")
    return {"ramp": ramp, **{name: grey_of(getattr(data, name)()) for name in names}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose colors leave sRGB, which refines them and has a size of its own."""
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": "unet", "width": 0.125, "depth": 0.34},
            "codebook": "regression",
            "refine": "guided",
            "size": SIZE,
        }
    )
    model = build_model(settings).eval()
    with torch.no_grad():
        photograph = grey_of(data.chelsea()[:256, :256]).astype(np.float32) / 2.55
        out = model(torch.from_numpy(photograph)[None, None])
        model.network.get_parameter("last.1.weight").mul_(1 / out.std())
    target = tmp_path_factory.mktemp("models") / "vivid"
    save_model(model, target)
    return target


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.load(folder)


@pytest.fixture(scope="module")
def exported(folder: Path, one_onnx_registry: None) -> Path:
    target = folder.with_name("model.onnx")
    run("export", target, "--model", folder)
    return target


def run(*arguments: object) -> None:
    result = CliRunner().invoke(main.app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def through_a_file(folder: Path, place: Path, suffix: str, levels: Levels) -> Levels:
    """What the command line makes of a file, decoded."""
    source = place / f"grey.{suffix}"
    pixels = cv2.imencode(f".{suffix}", levels)[1].tobytes()
    source.write_bytes(pixels)
    run("colorize", source, "-o", place / "out", "--model", folder)
    flag = cv2.IMREAD_UNCHANGED if levels.dtype == np.uint16 else cv2.IMREAD_COLOR
    colored = cv2.imread(str(place / "out" / f"grey-color.{suffix}"), flag)
    assert colored is not None
    return np.asarray(colored[..., ::-1])


def difference(first: Levels, second: Levels) -> int:
    """Largest difference of two pictures, levels."""
    assert (first.shape, first.dtype) == (second.shape, second.dtype)
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def chroma(rgb: Levels) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.hypot(*rgb2lab(rgb).transpose(2, 0, 1)[1:])
    return length


def test_the_model_asks_for_colors_that_srgb_lacks(
    predictor: Predictor, photographs: dict[str, Levels]
) -> None:
    for grey in photographs.values():
        rgb = predictor.color(grey)
        wanted = np.hypot(*predictor.predict_small(grey))
        asked = cv2.resize(wanted, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        assert (chroma(rgb) < asked - 10).mean() > 0.02
        own = rgb2lab(np.dstack([grey] * 3))[..., 0]
        assert np.abs(rgb2lab(rgb)[..., 0] - own).max() < 0.7


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_command_line_writes_it(
    folder: Path,
    predictor: Predictor,
    photographs: dict[str, Levels],
    tmp_path: Path,
    suffix: str,
    dtype: type[np.uint8] | type[np.uint16],
) -> None:
    for grey in photographs.values():
        levels = grey if dtype is np.uint8 else grey.astype(np.uint16) * 257
        colored = through_a_file(folder, tmp_path, suffix, levels)
        assert difference(colored, predictor.color(levels)) == 0


@pytest.mark.parametrize(
    ("suffix", "format_", "options"),
    [
        ("jpg", "JPEG", {"quality": 95, "subsampling": 0}),
        ("webp", "WEBP", {"quality": 95, "exact": True}),
    ],
)
def test_the_command_line_encodes_it(
    folder: Path,
    predictor: Predictor,
    photographs: dict[str, Levels],
    tmp_path: Path,
    suffix: str,
    format_: str,
    options: dict[str, object],
) -> None:
    for grey in photographs.values():
        through_a_file(folder, tmp_path, suffix, grey)
        photo = read_photo(tmp_path / f"grey.{suffix}", grey.size)
        strips = [strip for _, strip in predictor.strips(photo.grey, np.uint8)]
        file = io.BytesIO()
        Image.fromarray(np.concatenate(strips)).save(file, format_, **options)
        colored = Image.open(tmp_path / "out" / f"grey-color.{suffix}")
        assert difference(np.asarray(colored), np.asarray(Image.open(file))) == 0


def test_the_registered_model_gives_it(
    folder: Path, predictor: Predictor, photographs: dict[str, Levels], tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    from chromaflow.tracking.registry.package import write_package

    write_package(folder, tmp_path / "package", "m-1")
    model = mlflow.pyfunc.load_model(str(tmp_path / "package"))
    for grey in photographs.values():
        (colored,) = model.predict(grey[None])
        assert difference(colored, predictor.color(grey)) == 0


@pytest.mark.parametrize(
    "options",
    [
        ColorOptions(),
        ColorOptions(size=64, refine="joint_bilateral", upsample="joint_bilateral"),
        ColorOptions(size=128, refine="none", upsample="guided"),
    ],
    ids=str,
)
def test_onnx_runtime_gives_it(
    exported: Path, predictor: Predictor, photographs: dict[str, Levels], options: ColorOptions
) -> None:
    other = Predictor.from_onnx(exported)
    assert (other.digest, other.size) == (predictor.digest, SIZE)
    for grey in photographs.values():
        first, second = (one.color(grey, options).astype(int) for one in (other, predictor))
        assert (np.abs(first - second).max(axis=2) > 1).mean() < ANOTHER_STEP
        # With 16 bits, whose rounding hardly shows.
        deep = grey.astype(np.uint16) * 257
        labs = [rgb2lab(one.color(deep, options)) for one in (other, predictor)]
        step = np.hypot(*predictor.predict_small(grey, options)).max() / 256
        assert np.abs(labs[0] - labs[1]).max() < step + 0.1
