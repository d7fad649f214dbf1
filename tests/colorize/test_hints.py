import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.color import rgb2gray, rgb2hsv, rgb2lab
from torch import Tensor

from chromaflow.color.codebooks.grid import BINS
from chromaflow.colorize.batch import colorize_many
from chromaflow.colorize.hints import UserHints, _area_sums, read_hints
from chromaflow.colorize.join import Levels
from chromaflow.colorize.photo import colorize_photo
from chromaflow.colorize.predictor import ColorOptions, Predictor
from chromaflow.errors import DataError, ModelError, SettingsError
from chromaflow.models import build_model
from chromaflow.models.networks.base import Guide, Hints
from chromaflow.settings import Model
from tests.support.models import predictor_of

Point = dict[str, float | str | list[int]]
"""A point of a file of hints, by the names of its values."""


class PaintsHints:
    """Gives its hints back as the color of the picture, and grey elsewhere."""

    name = "paints"
    guide: type[Hints] | None = Hints
    given: Hints

    def predict_ab(
        self,
        lightness: Tensor,
        guide: Guide | None = None,
        *,
        refine: str | None = None,  # noqa: ARG002
    ) -> Tensor:
        if guide is None:
            return torch.zeros_like(lightness).expand(-1, 2, -1, -1)
        assert isinstance(guide, Hints)
        self.given = guide
        return guide.local[:, :2]


@pytest.fixture
def paints() -> PaintsHints:
    return PaintsHints()


@pytest.fixture
def painter(paints: PaintsHints) -> Predictor:
    return predictor_of(paints)


@pytest.fixture(scope="module")
def grey() -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = (rgb2gray(data.astronaut()) * 255).round().astype(np.uint8)
    return grey[:300, :400]


def predicted(
    predictor: Predictor, grey: Levels, size: int, hints: UserHints | None
) -> NDArray[np.float32]:
    return predictor.predict_small(grey, ColorOptions(size=size, hints=hints))


def ab_of(*rgb: int) -> NDArray[np.float64]:
    lab: NDArray[np.float64] = rgb2lab(np.array(rgb, np.uint8)[None, None])
    return lab[0, 0, 1:]


def points(folder: Path, *wanted: Point) -> Path:
    path = folder / "hints.json"
    path.write_text(json.dumps({"points": list(wanted)}))
    return path


def point(x: float, y: float, color: str | list[int] = "#aa3311", **more: float) -> Point:
    return {"x": x, "y": y, "color": color, **more}


def test_points_become_disks_of_their_color(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    path = points(tmp_path, point(100, 60, radius=10), point(300, 200, [0, 90, 200], radius=0))
    ab = predicted(painter, grey, 300, read_hints(path))
    rows, columns = np.mgrid[:300, :400]
    disk = np.hypot(columns - 100, rows - 60) <= 10
    mask = paints.given.local[0, 2].numpy() > 0
    np.testing.assert_array_equal(np.nonzero(mask & ~disk), [[200], [300]])
    assert mask[disk].all()
    expected = np.broadcast_to(ab_of(0xAA, 0x33, 0x11)[:, None], (2, disk.sum()))
    np.testing.assert_allclose(ab[:, disk], expected, atol=0.02)
    np.testing.assert_allclose(ab[:, 200, 300], ab_of(0, 90, 200), atol=0.02)
    assert paints.given.global_hints.abs().max() == 0


def shared(pixels: int, cells: int) -> NDArray[np.float64]:
    """How much of each of so many pixels in a row lies in each cell of it, (cells, pixels)."""
    pixel, cell = np.arange(pixels)[None] * cells, np.arange(cells)[:, None] * pixels
    end = np.minimum(pixel + cells, cell + pixels)
    return (end - np.maximum(pixel, cell)).clip(0) / cells


@pytest.mark.parametrize("size", [32, 100, 450])
def test_hints_are_means_by_area_where_any_falls(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8], size: int
) -> None:
    photograph = np.ascontiguousarray(grey[:60, :80])
    wanted = [point(20, 15, radius=7), point(26, 18, "teal", radius=5), point(60, 50, radius=0)]
    colors = [ab_of(0xAA, 0x33, 0x11), ab_of(0, 128, 128), ab_of(0xAA, 0x33, 0x11)]
    predicted(painter, photograph, size, read_hints(points(tmp_path, *wanted)))
    local = paints.given.local[0].numpy()
    height, width = local.shape[1:]
    drawn = np.zeros((3, 60, 80))
    rows, columns = np.mgrid[:60, :80]
    for hint, color in zip(wanted, colors, strict=True):
        inside = np.hypot(columns - hint["x"], rows - hint["y"]) <= hint["radius"]
        drawn[:, inside] = np.array([*color, 1])[:, None]
    sums = shared(60, height) @ drawn @ shared(80, width).T
    told = sums[2] > 1e-9
    np.testing.assert_array_equal(local[2] > 0, told)
    np.testing.assert_allclose(local[:2, told], (sums[:2] / sums[2].clip(1e-9))[:, told], atol=0.05)
    assert local[2, 50 * height // 60, 60 * width // 80] == 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_sums_over_areas_lose_nothing(pixels: int, cells: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((2, pixels))
    sums = _area_sums(values, cells)
    assert sums.shape == (2, cells)
    np.testing.assert_allclose(sums.sum(axis=1), values.sum(axis=1))
    repeated = values.repeat(cells, axis=1).reshape(2, cells, pixels).sum(axis=2) / cells
    np.testing.assert_allclose(sums, repeated, atol=1e-9)


def test_later_points_lie_over_earlier_ones(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    path = points(tmp_path, point(50, 50, "red", radius=20), point(50, 50, "blue", radius=5))
    ab = predicted(painter, grey, 300, read_hints(path))
    np.testing.assert_allclose(ab[:, 50, 50], ab_of(0, 0, 255), atol=0.02)
    np.testing.assert_allclose(ab[:, 50, 60], ab_of(255, 0, 0), atol=0.02)


def test_color_follows_hints_through_the_whole_way(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    Image.fromarray(grey).save(tmp_path / "old.png")
    hints = read_hints(points(tmp_path, point(200, 150, "green", radius=40)))
    result = colorize_photo(
        painter, tmp_path / "old.png", tmp_path / "out", options=ColorOptions(hints=hints)
    )
    rgb = np.asarray(Image.open(result["target"]))
    lab = rgb2lab(rgb)
    # Where the photograph is very dark or very bright, sRGB has less of that green.
    assert np.median(lab[130:170, 180:220, 1]) == pytest.approx(ab_of(0, 128, 0)[0], abs=1)
    np.testing.assert_array_equal(rgb[:60], np.dstack([grey[:60]] * 3))
    assert np.abs(lab[..., 0] - rgb2lab(np.dstack([grey] * 3))[..., 0]).max() < 0.3


def strokes(grey: NDArray[np.uint8], alpha: bool) -> NDArray[np.uint8]:
    """A stroke one pixel wide and a block; on a layer where the rest is transparent."""
    layer = np.zeros((*grey.shape, 4), np.uint8)
    if not alpha:
        layer[...] = 255
        layer[..., :3] = grey[..., None]
    layer[30, 20:300] = (200, 40, 40, 255)
    layer[100:140, 100:160] = (30, 60, 200, 255)
    return layer if alpha else layer[..., :3]


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_strokes_thinner_than_a_pixel_do_not_vanish(
    tmp_path: Path,
    paints: PaintsHints,
    painter: Predictor,
    grey: NDArray[np.uint8],
    alpha: bool,
    deep: bool,
) -> None:
    Image.fromarray(strokes(grey, alpha)).save(tmp_path / "strokes.png")
    photograph = grey.astype(np.uint16) * 257 if deep else grey
    ab = predicted(painter, photograph, 50, read_hints(tmp_path / "strokes.png"))
    mask = paints.given.local[0, 2].numpy() > 0
    assert mask[5, 4:49].all()
    assert mask.sum() == pytest.approx(47 + 8 * 11, abs=12)
    np.testing.assert_allclose(ab[:, 5, 10], ab_of(200, 40, 40), atol=0.5)
    np.testing.assert_allclose(ab[:, 20, 20], ab_of(30, 60, 200), atol=0.5)


def test_half_transparent_strokes_count_for_less(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    layer = np.zeros((*grey.shape, 4), np.uint8)
    layer[:, ::2], layer[:, 1::2] = (255, 0, 0, 255), (0, 0, 255, 85)
    Image.fromarray(layer).save(tmp_path / "strokes.png")
    ab = predicted(painter, grey, 50, read_hints(tmp_path / "strokes.png"))
    expected = (3 * ab_of(255, 0, 0) + ab_of(0, 0, 255)) / 4
    np.testing.assert_allclose(ab.mean(axis=(1, 2)), expected, atol=0.5)


def test_a_lossy_copy_of_the_photograph_is_no_stroke(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    Image.fromarray(strokes(grey, alpha=False)).save(tmp_path / "strokes.jpg", quality=90)
    predicted(painter, grey, 50, read_hints(tmp_path / "strokes.jpg"))
    mask = paints.given.local[0, 2].numpy() > 0
    assert not mask[26:].any()
    assert not mask[:, 55:].any()
    assert mask[5, 4:49].all()


def test_a_palette_is_a_histogram_of_equal_shares(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    (tmp_path / "palette.txt").write_text("#aa3311, teal\n#226\n")
    for palette in ("#aa3311,teal,#226", "#aa3311 teal; #222266", tmp_path / "palette.txt"):
        predicted(painter, grey, 64, read_hints(palette=palette))
        numbers = paints.given.global_hints[0].numpy()
        assert numbers[313:].tolist() == [1, 0, 0]
        assert numbers[:313].sum() == pytest.approx(1)
        for rgb in ((0xAA, 0x33, 0x11), (0, 128, 128), (0x22, 0x22, 0x66)):
            nearest = ((np.array(BINS) - ab_of(*rgb)) ** 2).sum(axis=1).argmin()
            assert numbers[nearest] == pytest.approx(1 / 3)
        assert paints.given.local.abs().max() == 0


def test_a_reference_tells_histogram_and_saturation(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    Image.fromarray(data.coffee()).save(tmp_path / "coffee.jpg", quality=95)
    predicted(painter, grey, 64, read_hints(reference=tmp_path / "coffee.jpg"))
    numbers = paints.given.global_hints[0].numpy()
    assert (numbers[313], numbers[315]) == (1, 1)
    assert numbers[:313].sum() == pytest.approx(1)
    mean = numbers[:313] @ np.array(BINS)
    np.testing.assert_allclose(mean, rgb2lab(data.coffee())[..., 1:].mean(axis=(0, 1)), atol=1)
    assert numbers[314] == pytest.approx(rgb2hsv(data.coffee())[..., 1].mean(), abs=0.02)
    both = read_hints(reference=tmp_path / "coffee.jpg", saturation=0.25)
    assert both is not None
    assert both.global_hints[314:].tolist() == [0.25, 1]


def test_nothing_told_is_no_hints() -> None:
    assert read_hints() is None
    grey = read_hints(saturation=0.0)
    assert grey is not None
    assert grey.global_hints[314:].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Invalid JSON"),
        ("\xff", "Invalid JSON"),
        ("[1]", "valid dictionary|instance|object"),
        ('{"points": []}', "points: .*at least 1"),
        ('{"point": []}', "point"),
        ('{"points": [{"x": 1, "color": "red"}]}', "point 1: y: Field required"),
        ('{"points": [{"x": "1", "y": 2, "color": "red"}]}', "point 1: x: .*number"),
        ('{"points": [{"x": NaN, "y": 2, "color": "red"}]}', "point 1: x: "),
        ('{"points": [{"x": 1e999, "y": 2, "color": "red"}]}', "point 1: x: "),
        ('{"points": [{"x": 1, "y": 2, "color": "red", "size": 3}]}', "point 1: size: Extra"),
        ('{"points": [{"x": 1, "y": 2, "color": "red", "radius": -1}]}', "point 1: radius"),
        ('{"points": [{"x": 1, "y": 2, "color": [1, 2]}]}', "point 1: color"),
        ('{"points": [{"x": 1, "y": 2, "color": [1, 2, 256]}]}', "point 1: color .* 0..255"),
        ('{"points": [{"x": 1, "y": 2, "color": "tael"}]}', "'tael' is not known; .* teal"),
        ('{"points": [{"x": 1, "y": 2, "color": "#12"}]}', "point 1: color '#12' is not known"),
    ],
)
def test_a_file_of_the_wrong_format_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "hints.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=rf"hints\.json: .*({message})"):
        read_hints(path)


@pytest.mark.parametrize(("x", "y"), [(400, 10), (-1, 10), (10, 300), (10, -0.1), (1e30, 0)])
def test_a_point_outside_is_named_with_the_size(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8], x: float, y: float
) -> None:
    hints = read_hints(points(tmp_path, point(0, 0), point(x, y)))
    with pytest.raises(DataError, match=r"point 2 at x = .* which is 400 × 300 pixels"):
        predicted(painter, grey, 64, hints)


def test_points_at_the_edges_are_inside(
    tmp_path: Path, paints: PaintsHints, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    hints = read_hints(points(tmp_path, point(0, 0, radius=100_000), point(399, 299, "blue")))
    predicted(painter, grey, 64, hints)
    assert paints.given.local[0, 2].min() == 1


def test_files_that_cannot_be_hints_are_told(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    cases = {
        "small.png": (np.zeros((30, 40, 3), np.uint8), "is 40 × 30 pixels, .* is 400 × 300"),
        "other.png": (data.coffee()[:300, :400], "differs from the photograph nearly everywhere"),
        "plain.png": (np.dstack([grey] * 3), "holds no strokes"),
        "empty.png": (np.zeros((300, 400, 4), np.uint8), "holds no strokes"),
        "deep.png": (grey.astype(np.uint16) * 257, "is grey"),
    }
    for name, (pixels, message) in cases.items():
        Image.fromarray(pixels).save(tmp_path / name)
        with pytest.raises(DataError, match=rf"{name} {message}"):
            predicted(painter, grey, 64, read_hints(tmp_path / name))
    (tmp_path / "text.png").write_text("red")
    with pytest.raises(DataError, match="is not a picture"):
        read_hints(tmp_path / "text.png")
    for missing in ("hints.json", "strokes.png"):
        with pytest.raises(DataError, match=f"{missing} cannot be read: No such file"):
            read_hints(tmp_path / missing)
    with pytest.raises(DataError, match=r"more than source\.max_pixels"):
        read_hints(tmp_path / "other.png", max_pixels=100)


def test_global_hints_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--palette: color 'palette\.txt' is not known"):
        read_hints(palette="palette.txt")
    with pytest.raises(DataError, match="--palette: there is no color"):
        read_hints(palette=" , ")
    (tmp_path / "palette.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"palette\.txt cannot be read"):
        read_hints(palette=tmp_path / "palette.txt")
    with pytest.raises(SettingsError, match="--palette and --reference"):
        read_hints(palette="red", reference=tmp_path / "a.png")
    for saturation in (-0.1, 1.5, float("nan")):
        with pytest.raises(SettingsError, match=r"not in 0\.\.1"):
            read_hints(saturation=saturation)


def test_a_model_that_takes_no_hints_is_told_before_anything_is_read(tmp_path: Path) -> None:
    settings = Model.model_validate({"network": {"width": 0.0625, "weights": "none"}})
    model = build_model(settings).eval()
    predictor = predictor_of(model)
    hints = read_hints(saturation=0.5)
    with pytest.raises(ModelError, match="efficientnet_lite0 takes no hints"):
        colorize_photo(
            predictor, tmp_path / "missing.png", tmp_path / "out", options=ColorOptions(hints=hints)
        )
    with pytest.raises(ModelError, match="takes no hints"):
        colorize_many(
            predictor,
            [tmp_path / "missing.png"],
            tmp_path / "out",
            options=ColorOptions(hints=hints),
        )


def test_points_are_for_one_photograph_but_a_saturation_goes_for_many(
    tmp_path: Path, painter: Predictor, grey: NDArray[np.uint8]
) -> None:
    for name in ("a", "b"):
        Image.fromarray(grey).save(tmp_path / f"{name}.png")
    local, numbers = read_hints(points(tmp_path, point(5, 5))), read_hints(saturation=0.5)
    for sources in ([tmp_path / "a.png", tmp_path / "b.png"], [tmp_path]):
        with pytest.raises(SettingsError, match=r"hints\.json is for one photograph"):
            colorize_many(painter, sources, tmp_path / "out", options=ColorOptions(hints=local))
        done = colorize_many(
            painter, sources, tmp_path / "out", options=ColorOptions(hints=numbers)
        )
        assert (done.done, done.failed) == (2, [])
    done = colorize_many(
        painter, [tmp_path / "a.png"], tmp_path / "out", options=ColorOptions(hints=local)
    )
    assert (done.done, done.failed) == (1, [])


def test_the_published_network_follows_the_way(tmp_path: Path, grey: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    settings = Model.model_validate(
        {
            "network": {"name": "zhang2017", "width": 0.125, "depth": 0.5},
            "codebook": "regression",
        }
    )
    predictor = predictor_of(build_model(settings).eval(), size=45)
    small = cv2.resize(grey, (80, 60))
    hints = read_hints(points(tmp_path, point(40, 30)), saturation=0.9)
    plain, guided = (predicted(predictor, small, 45, given) for given in (None, hints))
    assert plain.shape == guided.shape == (2, 45, 60)
    assert np.abs(plain - guided).max() > 1e-4
    assert predictor.color(small).shape == (60, 80, 3)
