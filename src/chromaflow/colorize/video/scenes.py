"""Where one shot ends and the next one begins."""

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from chromaflow.colorize.video.read import Frame
from chromaflow.colorize.video.ycbcr import Plane, resized

# A cut changes luma at least this much, on average, and this many times as much as it changes from
# frame to frame around it; so that a moving camera is none. In 255 codes, spread as below.
_LEAST_CHANGE = 16.0
_RATIO = 3.0
_MEAN, _SPREAD, _LEAST_SPREAD = 128.0, 48.0, 8.0
# Frames on each side of a cut that it is compared with.
_WINDOW = 2
# So small that motion changes little.
_SIDE = 32


def _evened(luma: Plane) -> Plane:
    """A frame at a set brightness and contrast, so that flicker and fades do not count as cuts."""
    values = luma.astype(np.float32)
    scale = _SPREAD / max(float(values.std()), _LEAST_SPREAD)
    even: Plane = ((values - values.mean()) * scale + _MEAN).clip(0, 255).astype(np.uint8)
    return even


class _Cuts:
    """Cuts frame by frame, by the adaptive detector of PySceneDetect on lightness."""

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(
            adaptive_threshold=_RATIO,
            min_scene_len=1,
            window_width=_WINDOW,
            min_content_val=_LEAST_CHANGE,
            luma_only=True,
        )

    def see(self, index: int, luma: Plane) -> set[int]:
        """Look at the next frame; gives the frames before it that are now known to begin a shot."""
        scale = min(1, _SIDE / min(luma.shape))
        height, width = (max(1, round(side * scale)) for side in luma.shape)
        picture = cv2.cvtColor(_evened(resized(luma, height, width)), cv2.COLOR_GRAY2BGR)
        # Its clock only counts frames here.
        found = self._detector.process_frame(FrameTimecode(index, fps=25.0), picture)
        return {cut.frame_num for cut in found}


def with_ends(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Frames, each with whether it is the last one of its shot; looks a few frames ahead."""
    cuts = _Cuts()
    waiting: deque[Frame] = deque()
    begins: set[int] = set()
    for frame in frames:
        waiting.append(frame)
        begins |= cuts.see(frame.index, frame.luma)
        if len(waiting) > _WINDOW + 1:
            first = waiting.popleft()
            yield first, first.index + 1 in begins
            begins.discard(first.index)
    while waiting:
        first = waiting.popleft()
        yield first, not waiting or first.index + 1 in begins
