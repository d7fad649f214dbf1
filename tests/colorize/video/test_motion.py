"""Motion of photographs whose motion is known."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from skimage import data

from chromaflow.colorize.video.motion import Trail, flow_between, followed, moved
from tests.support.clips import Pixels

GREY = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY)


def view(left: int, top: int) -> Pixels:
    return np.ascontiguousarray(GREY[top : top + 200, left : left + 300])


def test_a_shift_is_found_at_a_quarter_of_the_size() -> None:
    flow = flow_between(view(40, 30), view(46, 26))
    assert flow.shape == (50, 75, 2)
    np.testing.assert_allclose(np.median(flow, (0, 1)), [-6 / 4, 4 / 4], atol=0.05)


def test_moved_shows_what_lies_where_the_flow_leads() -> None:
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    flow = np.zeros((3, 4, 2), np.float32)
    flow[..., 0] = 1
    expected = np.array([[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    np.testing.assert_allclose(moved(picture, flow), expected)


def test_what_leaves_the_picture_or_is_covered_is_not_followed() -> None:
    there = np.zeros((8, 8, 2), np.float32)
    there[..., 0] = 2
    expected = np.ones((8, 8))
    expected[:, 6:] = 0
    np.testing.assert_array_equal(followed(there, -there), expected)
    back = -there
    back[3, 4] = 5
    assert followed(there, back)[3, 2] == 0


def test_a_trail_of_many_steps_leads_to_the_key_frame() -> None:
    views = [view(40 + 3 * step, 30 + 2 * step) for step in range(7)]
    trail = Trail.at_key(50, 75)
    for before, after in itertools.pairwise(views):
        trail = trail.extended(flow_between(after, before), flow_between(before, after))
    inner = (slice(0, -6), slice(0, -8))
    np.testing.assert_allclose(np.median(trail.flow[inner], (0, 1)), [18 / 4, 12 / 4], atol=0.1)
    assert trail.trust[inner].mean() > 0.9
    # What came into view at the right and below was not there.
    assert trail.trust[:, -3:].max() < 0.5
    assert trail.trust[-2:].max() < 0.5


def test_threads_do_not_disturb_each_other() -> None:
    pairs = [(view(40, 30), view(40 + 3 * number, 30 - number)) for number in range(8)]
    alone = [flow_between(*pair) for pair in pairs]

    def many(pair: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
        return [flow_between(*pair) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        for flow, flows in zip(alone, pool.map(many, pairs), strict=True):
            assert all(np.array_equal(flow, other) for other in flows)
