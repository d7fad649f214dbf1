"""Color carried from key frames to the frames between them, from both sides."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from chromaflow.colorize.join import Floats, Levels, lightness_of_levels
from chromaflow.colorize.predictor import ColorOptions, Predictor, shrunk
from chromaflow.colorize.video.motion import Trail, flow_between, moved
from chromaflow.colorize.video.read import Frame
from chromaflow.colorize.video.ycbcr import Plane, resized
from chromaflow.models.networks.base import Reference

# Most frames from one key frame to the next: these are held in memory.
LONGEST = 16
# A frame of whose pixels fewer than this share were followed from the key frame becomes one.
_LEAST_TRUST = 0.6
# L by which a pixel may differ from its place in the key frame; and what the color of a place that
# was not followed counts, so that there is some where neither side was.
_SIGMA = 6.0
_LEAST_WEIGHT = 0.02
# What differs by more is another thing rather than another light.
_MOST_LIGHT = 1.5


@dataclass
class Colored:
    """A frame and its color.

    Args:
        frame: The frame.
        ab: float32 (2, h, w), CIE units, at the size that the model sees.
        is_key: Whether the model colored it; coloring can restart here.
    """

    frame: Frame
    ab: Floats
    is_key: bool


@dataclass
class _Span:
    """A key frame and the frames after it, up to the next key frame or the end of the shot."""

    key: Colored
    small: list[Plane]
    frames: list[Frame] = field(default_factory=list)
    onward: list[Floats] = field(default_factory=list)
    back: list[Floats] = field(default_factory=list)
    trails: list[Trail] = field(default_factory=list)

    def add(self, frame: Frame, small: Plane) -> float:
        """Follow the motion to the next frame; gives the share of its pixels that were."""
        self.onward.append(flow_between(self.small[-1], small))
        self.back.append(flow_between(small, self.small[-1]))
        if not self.trails:
            self.trails.append(Trail.at_key(*self.back[0].shape[:2]))
        self.trails.append(self.trails[-1].extended(self.back[-1], self.onward[-1]))
        self.frames.append(frame)
        self.small.append(small)
        return float(self.trails[-1].trust.mean())


class Propagation:
    """Colors the frames of a video, most of them from key frames.

    Args:
        predictor: Colors key frames; and where it takes a reference, the frames between, too.
        key_predictor: Colors key frames instead.
        levels: The sRGB grey of each code of luma, uint16 (256,).
        options: How; the hints are for the key frames, `upsample` is ignored here.
    """

    def __init__(
        self,
        predictor: Predictor,
        key_predictor: Predictor | None,
        *,
        levels: Levels,
        options: ColorOptions,
    ) -> None:
        self._predictor = predictor
        self._key_predictor = key_predictor or predictor
        self._refers = predictor.model.guide is Reference
        self._levels = levels
        self._table = lightness_of_levels(np.uint16)[levels]
        # One size for both, since colors of key frames go to the frames between.
        self._size = predictor.size_for(options)
        self._options = dataclasses.replace(options, size=self._size)

    def color(self, frames: Iterable[tuple[Frame, bool]]) -> Iterator[Colored]:
        """Color frames, each with whether it ends its shot; holds at most `LONGEST` of them."""
        span: _Span | None = None
        for frame, ends in frames:
            small = shrunk(frame.luma, self._size)
            if span is None:
                span = self._begun(frame, small)
            else:
                trust = span.add(frame, small)
                if ends or trust < _LEAST_TRUST or len(span.frames) == LONGEST:
                    following = self._begun(span.frames.pop(), small)
                    yield from self._between(span, following.key.ab)
                    span = following
            if ends:
                yield span.key
                span = None

    def _begun(self, frame: Frame, small: Plane) -> _Span:
        ab = self._key_predictor.predict_small(self._levels[small], self._options)
        return _Span(Colored(frame, ab, is_key=True), [small])

    def _between(self, span: _Span, last: Floats) -> Iterator[Colored]:
        """The key frame of a span and its frames, given the color of the key frame behind them."""
        yield span.key
        trail = Trail.at_key(*span.back[0].shape[:2])
        behind = []
        for onward, back in zip(reversed(span.onward[1:]), reversed(span.back[1:]), strict=True):
            trail = trail.extended(onward, back)
            behind.append(trail)
        for index, (frame, after) in enumerate(zip(span.frames, reversed(behind), strict=True), 1):
            share = index / len(span.onward)
            if self._refers:
                ab = self._referred(span, index, last, share)
            else:
                first, now, then = (self._lightness(span, place) for place in (0, index, -1))
                ab = _blend(
                    now,
                    (span.key.ab, span.trails[index], first, 1 - share),
                    (last, after, then, share),
                )
            yield Colored(frame, ab, is_key=False)

    def _lightness(self, span: _Span, place: int) -> Floats:
        return self._table[span.small[place]]

    def _referred(self, span: _Span, index: int, last: Floats, share: float) -> Floats:
        """A frame colored by the model itself, which looks at the key frames on both sides."""
        planes = [self._lightness(span, place) for place in (index, index, 0, -1)]
        lightness = torch.from_numpy(np.stack(planes)[:, None])
        device = self._predictor.device
        frame, keys = lightness[:2].to(device), lightness[2:].to(device)
        colors = torch.from_numpy(np.stack([span.key.ab, last])).to(device)
        reference = Reference(keys, colors, torch.ones(2, device=device))
        weights = torch.tensor([1 - share, share])[:, None, None, None]
        with torch.inference_mode():
            both = self._predictor.model.predict_ab(frame, reference, refine=self._options.refine)
        ab: Floats = (both.float().cpu() * weights).sum(dim=0).numpy()
        return ab


def _blend(now: Floats, *sides: tuple[Floats, Trail, Floats, float]) -> Floats:
    """Color of a frame from the key frames on both sides.

    Args:
        now: L of the frame, (h, w).
        sides: ab, (2, h, w), of a key frame, the trail to it, its L, and its share.
    """
    total = np.zeros((*now.shape, 2), np.float32)
    weights = np.zeros(now.shape, np.float32)
    for ab, trail, then, share in sides:
        height, width = trail.trust.shape
        target = resized(now, height, width)
        source = moved(resized(then, height, width), trail.flow)
        strays = cv2.blur(source - target, (3, 3))
        trust = trail.trust * np.exp(-0.5 * np.square(strays / _SIGMA)) + _LEAST_WEIGHT
        weight = resized(trust * np.float32(share), *now.shape)
        # Light that grows by a factor multiplies L + 16, a and b alike.
        light = (cv2.blur(target, (5, 5)) + 16) / (cv2.blur(source, (5, 5)) + 16)
        light = resized(light.clip(1 / _MOST_LIGHT, _MOST_LIGHT), *now.shape)
        scale = np.array([now.shape[1] / width, now.shape[0] / height], np.float32)
        color = moved(ab.transpose(1, 2, 0), resized(trail.flow, *now.shape) * scale)
        total += color * (weight * light)[..., None]
        weights += weight
    return np.ascontiguousarray((total / weights[..., None]).transpose(2, 0, 1))
