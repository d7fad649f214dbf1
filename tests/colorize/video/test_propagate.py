"""Colors between key frames against the true colors of a photograph under a moving camera."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from skimage import color
from torch import Tensor

from chromaflow.colorize.predictor import ColorOptions
from chromaflow.colorize.video import propagate
from chromaflow.colorize.video.propagate import Colored, Propagation
from chromaflow.colorize.video.read import Frame
from chromaflow.models.networks.base import Guide, Reference
from tests.support.clips import Pixels, pan
from tests.support.models import predictor_of

LEVELS = np.arange(256, dtype=np.uint16) * 257


class Knows:
    """Gives the true color of each frame of a clip, which it knows by its lightness."""

    name = "knows"
    guide: type[Reference] | None = None

    def __init__(self, clip: list[Pixels]) -> None:
        self.clip = clip
        lab = [color.rgb2lab(rgb).astype(np.float32) for rgb in clip]
        self.truth = [plane[..., 1:].transpose(2, 0, 1) for plane in lab]
        self.lightness = [
            color.rgb2lab(np.dstack([cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)] * 3))[..., 0]
            for rgb in clip
        ]
        self.asked: list[int | str | tuple[float, ...]] = []

    def predict_ab(
        self,
        lightness: Tensor,
        guide: Guide | None = None,
        *,
        refine: str | None = None,  # noqa: ARG002
    ) -> Tensor:
        assert guide is None
        strays = [np.abs(own - lightness[0, 0].numpy()).mean() for own in self.lightness]
        nearest = int(np.argmin(strays))
        self.asked.append(nearest)
        return torch.from_numpy(self.truth[nearest])[None]


def propagation(model: Knows, keys: Knows | None = None) -> Propagation:
    key_predictor = predictor_of(keys) if keys else None
    return Propagation(predictor_of(model), key_predictor, levels=LEVELS, options=ColorOptions())


def run(model: Knows, clip: list[Pixels], ends: set[int] | None = None) -> list[Colored]:
    greys = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in clip]
    frames = [Frame(index, index, grey) for index, grey in enumerate(greys)]
    last = ends or {len(clip) - 1}
    return list(propagation(model).color((frame, frame.index in last) for frame in frames))


@pytest.fixture
def clip() -> list[Pixels]:
    return list(pan("cup", 21, 96, 64, colored=True))


def test_colors_follow_the_motion_from_few_key_frames(clip: list[Pixels]) -> None:
    model = Knows(clip)
    colored = run(model, clip)
    assert [one.frame.index for one in colored] == list(range(21))
    assert [one.frame.index for one in colored if one.is_key] == [0, 16, 20] == model.asked
    errors = [np.abs(one.ab - model.truth[one.frame.index]).mean() for one in colored]
    # The same key frames blended where they stand.
    first, last = model.truth[0], model.truth[16]
    still = [
        np.abs(first * (1 - i / 16) + last * (i / 16) - model.truth[i]).mean() for i in range(17)
    ]
    assert max(errors[:17]) < 0.5 * max(still)
    assert np.mean(errors[:17]) < 0.4 * np.mean(still)


def test_colors_grow_dim_with_the_light(clip: list[Pixels]) -> None:
    linear = (clip[0] / 255) ** 2.2
    lamp = [1, 0.8, 0.6, 0.45, 0.6, 0.8, 1]
    model = Knows([((linear * lit) ** (1 / 2.2) * 255).astype(np.uint8) for lit in lamp])
    colored = run(model, model.clip)
    assert [one.frame.index for one in colored if one.is_key] == [0, 6]
    error = np.abs(colored[3].ab - model.truth[3]).mean()
    assert error < 0.5 * np.abs(model.truth[0] - model.truth[3]).mean()


def test_a_shot_does_not_color_the_next_one(clip: list[Pixels]) -> None:
    both = clip[:5] + list(pan("rocket", 6, 96, 64, colored=True))
    model = Knows(both)
    colored = run(model, both, ends={4, 10})
    assert [one.frame.index for one in colored if one.is_key] == [0, 4, 5, 10]
    alone = run(Knows(both), clip[:5])
    for one, other in zip(colored, alone, strict=False):
        np.testing.assert_array_equal(one.ab, other.ab)


def test_a_frame_that_cannot_be_followed_becomes_a_key_frame(clip: list[Pixels]) -> None:
    torn = clip[:6] + list(pan("rocket", 6, 96, 64, colored=True))
    colored = run(Knows(torn), torn)  # nobody tells of the cut
    assert [one.frame.index for one in colored if one.is_key] == [0, 6, 11]


def test_shots_of_one_and_two_frames(clip: list[Pixels]) -> None:
    colored = run(Knows(clip), clip[:3], ends={0, 2})
    assert [one.is_key for one in colored] == [True, True, True]


def test_few_frames_are_held(clip: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagate, "LONGEST", 4)
    given = 0

    def frames() -> Iterator[tuple[Frame, bool]]:
        nonlocal given
        for index, rgb in enumerate(clip):
            given += 1
            yield Frame(index, index, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), index == 20

    for count, _ in enumerate(propagation(Knows(clip)).color(frames())):
        assert given - count <= 5


class Looks(Knows):
    """Gives the color of its reference, and 7 where there is none."""

    guide = Reference

    def predict_ab(
        self,
        lightness: Tensor,
        guide: Guide | None = None,
        *,
        refine: str | None = None,  # noqa: ARG002
    ) -> Tensor:
        if guide is None:
            self.asked.append("key")
            return torch.full((1, 2, *lightness.shape[2:]), 7.0)
        assert isinstance(guide, Reference)
        self.asked.append(tuple(guide.ab[:, 0, 0, 0].tolist()))
        assert guide.lightness.shape == lightness.shape == (2, 1, 64, 96)
        assert guide.known.tolist() == [1, 1]
        return guide.ab


def test_a_network_with_a_reference_colors_the_frames_between(clip: list[Pixels]) -> None:
    model = Looks(clip)
    colored = run(model, clip[:5])
    assert model.asked == ["key", "key", (7, 7), (7, 7), (7, 7)]
    assert all((one.ab == 7).all() for one in colored)


def test_key_frames_may_have_a_model_of_their_own(clip: list[Pixels]) -> None:
    model, keys = Looks(clip), Knows(clip)
    frames = [(Frame(i, i, cv2.cvtColor(clip[i], cv2.COLOR_RGB2GRAY)), i == 4) for i in range(5)]
    colored = list(propagation(model, keys).color(iter(frames)))
    assert keys.asked == [0, 4]
    np.testing.assert_allclose(
        colored[1].ab, 0.75 * keys.truth[0] + 0.25 * keys.truth[4], atol=1e-4
    )
