"""Measurements against the same metrics computed otherwise, on real photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import color
from skimage.metrics import peak_signal_noise_ratio

from chromaflow.color.codebooks.grid import BINS
from chromaflow.errors import DataError, ModelError
from chromaflow.evaluation.measure import measure, measure_model, model_to_measure, resize_square
from chromaflow.models import build_model
from chromaflow.models.model_folder import save_model
from chromaflow.settings import Evaluation, Model, Training

SIZE = 64
FOLDER = Path("data/lab/test")


def grey(lightness: torch.Tensor) -> torch.Tensor:
    return lightness.new_zeros(len(lightness), 2, *lightness.shape[-2:])


def tinted(lightness: torch.Tensor) -> torch.Tensor:
    return grey(lightness) + lightness / 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model of random weights."""
    torch.manual_seed(0)
    model = build_model(
        Model.model_validate(
            {"network": {"name": "vcnn", "width": 0.0625}, "codebook": "regression"}
        )
    )
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def truths(split: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Squeezed lightness (n, H, W) and ab (n, H, W, 2)."""
    pairs = [resize_square(pixels, SIZE) for pixels in split.values()]
    lightness, ab = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return lightness[:, 0].numpy(), ab.permute(0, 2, 3, 1).numpy()


def test_squeezing_antialiases_the_whole_image(split: dict[str, np.ndarray]) -> None:
    pixels = split["astronaut"]
    lightness, ab = resize_square(pixels, 32)
    assert lightness.shape == (1, 1, 32, 32)
    assert ab.shape == (1, 2, 32, 32)
    plane = Image.fromarray(pixels[..., 0].astype(np.float32))
    expected = np.asarray(plane.resize((32, 32), Image.Resampling.BILINEAR)) / 2.55
    np.testing.assert_allclose(lightness[0, 0].numpy(), expected, atol=1e-3)
    assert np.abs(ab[0].mean((1, 2)).numpy() + 128 - pixels[..., 1:].mean((0, 1))).max() < 1
    same, _ = resize_square(np.ascontiguousarray(pixels[:32, :32]), 32)
    np.testing.assert_allclose(same[0, 0].numpy(), pixels[:32, :32, 0] / 2.55, rtol=1e-6)


def test_measurements_agree_with_scikit_image(split: dict[str, np.ndarray]) -> None:
    measured = measure({"grey": grey}, FOLDER, SIZE)["grey"]
    lightness, ab = truths(split)
    assert measured.ids == tuple(split)
    for index in range(len(split)):
        joined = np.dstack((lightness[index], ab[index]))
        true = color.lab2rgb(joined)
        flat = color.lab2rgb(joined * (1, 0, 0))
        expected = {
            "psnr": peak_signal_noise_ratio(true, flat, data_range=1),
            "delta_e_2000": color.deltaE_ciede2000(color.rgb2lab(true), color.rgb2lab(flat)).mean(),
            "auc": 100
            * np.mean([(np.hypot(*ab[index].T) <= limit).mean() for limit in range(151)]),
        }
        for metric, value in expected.items():
            assert measured.values[metric][index] == pytest.approx(value, rel=1e-3), metric


def test_rebalanced_auc_over_images_is_that_over_all_pixels(split: dict[str, np.ndarray]) -> None:
    measured = measure({"tinted": tinted, "grey": grey}, FOLDER, SIZE)
    lightness, ab = truths(split)
    rounded = ab.reshape(-1, 2).round().clip(-128, 127)
    # Of equally near bins the first counts.
    squares = ((rounded[:, None] - np.array(BINS)) ** 2).sum(axis=-1)
    index = np.argsort(squares, axis=1, kind="stable")[:, :5]
    shares = np.exp(-np.take_along_axis(squares, index, axis=1) / 50)
    shares /= shares.sum(axis=1, keepdims=True)
    prior = np.bincount(index.ravel(), shares.ravel(), minlength=313) / len(rounded)
    weights = 1 / prior[index[:, 0]]
    error = np.linalg.norm(lightness.reshape(-1, 1) / 5 - ab.reshape(-1, 2), axis=1)
    share = np.mean([error <= limit for limit in range(151)], axis=0)
    expected = 100 * (weights * share).sum() / weights.sum()
    assert measured["tinted"].mean("auc_rebalanced") == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(measured["tinted"].weights, measured["grey"].weights)
    pixels = weights.reshape(len(split), -1).mean(axis=1)
    np.testing.assert_allclose(
        measured["grey"].weights / measured["grey"].weights.mean(),
        pixels / pixels.mean(),
        rtol=1e-4,
    )
    assert measured["grey"].mean("auc_rebalanced") < measured["grey"].mean("auc")


def test_the_truth_is_perfect_and_grey_has_no_color(split: dict[str, np.ndarray]) -> None:
    lightness, ab = truths(split)
    by_lightness = {image.tobytes(): true for image, true in zip(lightness, ab, strict=True)}

    def oracle(batch: torch.Tensor) -> torch.Tensor:
        colors = [by_lightness[image.numpy().tobytes()] for image in batch[:, 0]]
        return torch.from_numpy(np.stack(colors)).permute(0, 3, 1, 2)

    measured = measure({"oracle": oracle, "grey": grey}, FOLDER, SIZE)
    perfect = measured["oracle"]
    assert perfect.mean("auc") == pytest.approx(100)
    assert perfect.mean("auc_rebalanced") == pytest.approx(100)
    assert perfect.mean("delta_e_2000") == pytest.approx(0, abs=1e-6)
    assert perfect.mean("ssim") == pytest.approx(1)
    assert perfect.mean("saturation_difference") == 0
    for metric in ("colorfulness", "colorfulness_hasler"):
        assert perfect.mean(metric) == measured["truth"].mean(metric) > 5
        assert measured["grey"].mean(metric) == pytest.approx(0, abs=0.5)


def test_a_model_measures_with_baselines_as_without(
    split: dict[str, np.ndarray], folder: Path
) -> None:
    evaluation = Evaluation(size=SIZE)
    with model_to_measure(folder, Training()) as model:
        without = measure_model(model, FOLDER, evaluation)
        found = measure_model(model, FOLDER, evaluation, baselines={"grey": grey, "tinted": tinted})
    assert set(without) == {"truth", "model"}
    assert set(found) == {"truth", "model", "grey", "tinted"}
    assert without["model"].ids == found["model"].ids
    for metric, values in found["model"].values.items():
        assert np.array_equal(without["model"].values[metric], values), metric


def test_measurements_have_the_decimals_of_the_table(split: dict[str, np.ndarray]) -> None:
    found = measure({"tinted": tinted}, FOLDER, SIZE)["tinted"]
    for values in (*found.values.values(), found.weights):
        assert [float(f"{value:.6f}") for value in values] == values.tolist()


def test_threads_and_device_hold_until_the_end_of_the_block(folder: Path) -> None:
    before = torch.get_num_threads()
    training = Training(threads=before + 1, accelerator="cpu")
    with model_to_measure(folder, training) as model:
        assert torch.get_num_threads() == before + 1
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
        assert not model.training
    assert torch.get_num_threads() == before
    with pytest.raises(KeyboardInterrupt), model_to_measure(folder, training):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before
    missing = model_to_measure(folder / "missing", training)
    with pytest.raises(ModelError, match="no model folder"), missing:
        pass
    assert torch.get_num_threads() == before


def test_an_empty_split_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chromaflow.evaluation.measure.read_split", lambda _: iter(()))
    with pytest.raises(DataError, match=r"data/lab/test holds no images(.|\n)*preprocess"):
        measure({"grey": grey}, FOLDER, SIZE)


def test_a_missing_split_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="preprocess"):
        measure({"grey": grey}, tmp_path / "test", SIZE)


def test_a_model_that_predicts_no_numbers_is_refused(split: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="broken predicts"):
        measure({"broken": lambda lightness: grey(lightness) / 0}, FOLDER, SIZE)
