"""Where each pixel of a frame was in another one, by optical flow of the lightness."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from chromaflow.colorize.join import Floats
from chromaflow.colorize.video.ycbcr import Plane, resized

# Sundaram, Brox and Keutzer 2010 (ECCV), equation 5: how far a way there and back may miss.
_SHARE, _SLACK = 0.01, 0.5
_COARSER = 4


@functools.lru_cache(maxsize=8)
def _places(height: int, width: int) -> Floats:
    """Column and row of each pixel, (H, W, 2)."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return np.dstack([across, down]).astype(np.float32)


def flow_between(first: Plane, second: Plane) -> Floats:
    """Where each pixel of the first frame is in the second, by dense inverse search.

    The search (Kroeger et al. 2016, ECCV) ends at a quarter of the size: no more is kept.

    Returns:
        Displacement x and y in pixels of the result, (H / 4, W / 4, 2), rounded up.
    """
    height, width = first.shape
    small = -(-height // _COARSER), -(-width // _COARSER)
    # One of its own, which costs little: it keeps its work in itself, so threads cannot share it.
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: Floats = resized(estimator.calc(first, second, None), *small)
    flow *= np.array([small[1] / width, small[0] / height], np.float32)
    return flow


def moved(picture: Floats, flow: Floats) -> Floats:
    """What a picture, (H, W) or (H, W, C) with C up to 4, shows where the flow leads."""
    places = _places(*flow.shape[:2]) + flow
    shown: Floats = cv2.remap(
        picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return shown


def followed(there: Floats, back: Floats) -> Floats:
    """1 where the way there and back ends where it began, inside the picture; else 0. (H, W)."""
    height, width = there.shape[:2]
    returned = moved(back, there)
    missed = np.square(there + returned).sum(axis=2)
    length = np.square(there).sum(axis=2) + np.square(returned).sum(axis=2)
    place = _places(height, width) + there
    inside = (place >= -0.5).all(axis=2) & (place <= (width - 0.5, height - 0.5)).all(axis=2)
    fits: Floats = ((missed <= _SHARE * length + _SLACK) & inside).astype(np.float32)
    return fits


@dataclass
class Trail:
    """How to get from each pixel of a frame to its place in a key frame.

    Args:
        flow: Displacement x and y, (H, W, 2).
        trust: 1 where every step of the way was followed, down to 0, (H, W).
    """

    flow: Floats
    trust: Floats

    @classmethod
    def at_key(cls, height: int, width: int) -> "Trail":
        """The trail of the key frame itself."""
        return cls(np.zeros((height, width, 2), np.float32), np.ones((height, width), np.float32))

    def extended(self, there: Floats, back: Floats) -> "Trail":
        """The trail of the frame one step further from the key frame.

        Flows are added rather than colors moved step by step, which would blur them.

        Args:
            there: Flow from that frame to the one of this trail.
            back: Flow from the one of this trail to that frame.
        """
        onward = moved(np.dstack([self.flow, self.trust]), there)
        return Trail(onward[..., :2] + there, onward[..., 2] * followed(there, back))
