from collections.abc import Sequence

import numpy as np
import pytest

from chromaflow.colorize.video.read import Frame
from chromaflow.colorize.video.scenes import with_ends
from tests.support.clips import Pixels, pan


def ends_of(pictures: Sequence[Pixels]) -> list[int]:
    frames = [Frame(index, index, picture) for index, picture in enumerate(pictures)]
    shown = list(with_ends(iter(frames)))
    assert [frame.index for frame, _ in shown] == list(range(len(frames)))
    return [frame.index for frame, ends in shown if ends]


def grey(name: str, count: int, step: int = 2) -> list[Pixels]:
    return [frame[..., 0].copy() for frame in pan(name, count, step=step)]


def test_each_shot_ends_where_the_next_one_begins() -> None:
    assert ends_of(grey("cup", 9) + grey("rocket", 7) + grey("cat", 8)) == [8, 15, 23]


@pytest.mark.parametrize("step", [0, 1, 5])
def test_a_moving_camera_is_no_cut(step: int) -> None:
    assert ends_of(grey("cat", 25, step=step)) == [24]


def test_flicker_and_fades_are_no_cuts() -> None:
    rng = np.random.default_rng(3)
    still = grey("cup", 1)[0].astype(float)
    flicker = [(still * level).clip(0, 255) for level in rng.uniform(0.8, 1.0, 24)]
    assert ends_of([frame.astype(np.uint8) for frame in flicker]) == [23]
    fade = [still * (1 - step / 24) for step in range(24)]
    assert ends_of([frame.astype(np.uint8) for frame in fade]) == [23]


def test_one_frame_is_a_shot() -> None:
    assert ends_of(grey("cup", 1)) == [0]
    assert ends_of([]) == []
