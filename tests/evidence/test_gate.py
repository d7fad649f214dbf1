"""The gate on arrays: no MLflow, no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from chromaflow.evaluation.baselines import BASELINES
from chromaflow.evaluation.measurements import Measurements
from chromaflow.evidence.gate import Decision, decide, rivals_of
from chromaflow.evidence.policies import PairedGain, Rival, Verdict

PAIRED_GAIN = PairedGain("psnr", confidence=0.95, resamples=200, seed=17)
BASE = np.random.default_rng(0).normal(20, 1, 30)


def measured(above: float, images: int = 30) -> Measurements:
    """Every image that much above the worst baseline."""
    ids = tuple(f"image{number}" for number in range(images))
    return Measurements(ids, {"psnr": BASE[:images] + above}, np.ones(images))


GREY_AND_MEAN = {"grey": measured(0), "mean_color": measured(1)}
CHAMPION = Rival("champion", "champion version 3", measured(3))


@dataclass(frozen=True)
class Fixed:
    """A policy that knows beforehand."""

    name: str
    passed: bool

    def judge(self, candidate: Measurements, rivals: Sequence[Rival]) -> Verdict:
        said = "is good" if self.passed else "is bad"
        return Verdict(
            self.passed, f"its {self.name} {said}", {self.name: [len(candidate.ids), len(rivals)]}
        )


def judge(above: float, champion: Rival | None) -> Decision:
    return decide(measured(above), rivals_of(GREY_AND_MEAN, champion), [PAIRED_GAIN])


def test_without_a_champion_both_baselines_are_the_rivals() -> None:
    rivals = rivals_of(GREY_AND_MEAN, None)
    assert [rival.name for rival in rivals] == list(BASELINES) == ["grey", "mean_color"]
    assert [rival.noun for rival in rivals] == [one.noun for one in BASELINES.values()]
    decision = judge(2, None)
    assert decision.promoted
    assert decision.reason.startswith("it beats grey by +2 dB ")
    assert " and the mean color by +1 dB " in decision.reason
    assert decision.numbers["gains"].keys() == {"grey", "mean_color"}


def test_one_of_two_baselines_is_not_enough() -> None:
    decision = judge(0.5, None)
    assert not decision.promoted
    gains = decision.numbers["gains"]
    assert (gains["grey"]["share"], gains["mean_color"]["share"]) == (1, 0)
    assert decision.reason.endswith("and 95% are required of each")


@pytest.mark.parametrize(("above", "promoted"), [(3.5, True), (3, False), (2, False)])
def test_with_a_champion_it_is_the_only_rival(above: float, promoted: bool) -> None:
    decision = judge(above, CHAMPION)
    assert decision.promoted is promoted
    assert decision.numbers["gains"].keys() == {"champion"}
    assert "champion version 3 by " in decision.reason


def test_other_images_than_the_champions_are_an_error() -> None:
    with pytest.raises(ValueError, match="same images"):
        decide(measured(9, images=29), rivals_of(GREY_AND_MEAN, CHAMPION), [PAIRED_GAIN])


def test_a_baseline_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="no measurements of mean_color"):
        rivals_of({"grey": measured(0)}, None)
    assert rivals_of({}, CHAMPION) == (CHAMPION,)


def test_every_policy_has_to_let_it_pass() -> None:
    good, bad, worse = Fixed("size", True), Fixed("speed", False), Fixed("color", False)
    rivals = [CHAMPION]
    assert decide(measured(9), rivals, [good, PAIRED_GAIN]).promoted
    decision = decide(measured(9), rivals, [PAIRED_GAIN, bad, good, worse])
    assert not decision.promoted
    assert decision.reason == "its speed is bad; its color is bad"
    assert list(decision.verdicts) == ["paired_gain", "speed", "size", "color"]
    assert decision.numbers["speed"] == decision.numbers["color"] == [30, 1]
    assert decision.numbers["metric"] == "psnr"
    both = decide(measured(9), rivals, [good, Fixed("speed", True)])
    assert both.reason == "its size is good; its speed is good"


def test_nothing_is_promoted_without_evidence() -> None:
    with pytest.raises(ValueError, match="one policy and one rival"):
        decide(measured(9), [], [PAIRED_GAIN])
    with pytest.raises(ValueError, match="one policy and one rival"):
        decide(measured(9), [CHAMPION], [])


def test_two_policies_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="same name"):
        decide(measured(9), [CHAMPION], [Fixed("size", True), Fixed("size", False)])
