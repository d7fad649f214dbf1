"""The policies on arrays: no MLflow, no files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from chromaflow.evaluation.measurements import Measurements
from chromaflow.evidence.policies import PairedGain, Rival, policies
from chromaflow.settings import Settings

POLICY = PairedGain("delta_e_2000", confidence=0.95, resamples=400, seed=17)
# Of 40 images; a smaller difference is better.
VALUES = np.random.default_rng(0).normal(12, 1, 40)


def measured(values: NDArray[np.float64], metric: str = "delta_e_2000") -> Measurements:
    ids = tuple(f"image{number}" for number in range(len(values)))
    return Measurements(ids, {metric: values}, np.ones(len(values)))


CHAMPION = Rival("champion", "champion version 3", measured(VALUES))
OTHER = Rival("other", "the other", measured(VALUES - 2))


def test_a_gain_on_every_image_passes() -> None:
    verdict = POLICY.judge(measured(VALUES - 0.5), [CHAMPION])
    assert verdict.passed
    assert verdict.reason == (
        "it beats champion version 3 by +0.5 ΔE2000 "
        "(above zero in 100.0% of 400 resamples of 40 images)"
    )
    gain = verdict.numbers["gains"]["champion"]
    assert gain["mean"] == gain["low"] == gain["high"] == pytest.approx(0.5)
    assert (gain["share"], gain["images"], gain["resamples"]) == (1, 40, 400)
    assert (verdict.numbers["metric"], verdict.numbers["confidence"]) == ("delta_e_2000", 0.95)


@pytest.mark.parametrize("worse", [0.0, 0.5])
def test_no_gain_does_not_pass(worse: float) -> None:
    verdict = POLICY.judge(measured(VALUES + worse), [CHAMPION])
    assert not verdict.passed
    assert verdict.reason.startswith("it differs from champion version 3 by ")
    assert verdict.reason.endswith("of 40 images), and 95% are required of each")
    assert verdict.numbers["gains"]["champion"]["share"] == 0


def test_a_metric_that_rises_is_understood() -> None:
    policy = replace(POLICY, metric="psnr")
    rival = Rival("champion", "the champion", measured(VALUES, "psnr"))
    assert policy.judge(measured(VALUES + 1, "psnr"), [rival]).passed
    assert not policy.judge(measured(VALUES - 1, "psnr"), [rival]).passed


def test_the_confidence_decides_upon_a_gain_on_some_images() -> None:
    noise = np.random.default_rng(1).normal(0.15, 1, 40)
    candidate = measured(VALUES - noise)
    share = POLICY.judge(candidate, [CHAMPION]).numbers["gains"]["champion"]["share"]
    assert 0.6 < share < 0.95
    assert replace(POLICY, confidence=share).judge(candidate, [CHAMPION]).passed
    assert not replace(POLICY, confidence=share + 0.001).judge(candidate, [CHAMPION]).passed


def test_every_rival_has_to_be_beaten() -> None:
    candidate = measured(VALUES - 1)
    assert POLICY.judge(candidate, [CHAMPION]).passed
    verdict = POLICY.judge(candidate, [CHAMPION, OTHER])
    assert not verdict.passed
    shares = {name: gain["share"] for name, gain in verdict.numbers["gains"].items()}
    assert shares == {"champion": 1, "other": 0}
    assert " and the other by -1 ΔE2000 " in verdict.reason


def test_other_images_cannot_be_compared() -> None:
    for values in (VALUES[:-1], VALUES[::-1][:20]):
        with pytest.raises(ValueError, match="same images"):
            POLICY.judge(measured(values), [CHAMPION])
    named = Measurements(CHAMPION.measurements.ids[::-1], {"delta_e_2000": VALUES}, np.ones(40))
    with pytest.raises(ValueError, match="same images"):
        POLICY.judge(named, [CHAMPION])


def test_a_metric_without_a_better_and_a_worse_decides_nothing() -> None:
    with pytest.raises(ValueError, match="cannot be ranked"):
        replace(POLICY, metric="colorfulness").judge(measured(VALUES), [CHAMPION])


def test_the_policies_follow_the_settings() -> None:
    promotion = {"metric": "psnr", "confidence": 0.9, "resamples": 700}
    settings = Settings.model_validate({"promotion": promotion, "seed": 5})
    assert policies(settings) == (PairedGain("psnr", 0.9, 700, 5),)


def test_policies_have_names_and_numbers_of_their_own() -> None:
    found = policies(Settings.model_validate({"promotion": {"metric": "delta_e_2000"}}))
    assert len({policy.name for policy in found}) == len(found)
    numbers = [policy.judge(measured(VALUES - 1), [CHAMPION]).numbers for policy in found]
    names = [name for own in numbers for name in own]
    assert len(set(names)) == len(names)
    assert json.loads(json.dumps(numbers)) == numbers
