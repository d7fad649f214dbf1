"""The rules by which a candidate is judged: each looks at measurements and gives a verdict.

A further rule is a class here, and its line in `policies`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from chromaflow.evaluation.bootstrap import Gain, compare
from chromaflow.evaluation.measurements import Measurements
from chromaflow.metrics.catalog import METRICS
from chromaflow.settings import Settings


@dataclass(frozen=True)
class Rival:
    """A system that the candidate has to beat.

    Args:
        name: In the ledger.
        noun: In a sentence, as "champion version 3" or "the mean color".
        measurements: Of the images on which the candidate was measured.
    """

    name: str
    noun: str
    measurements: Measurements


@dataclass(frozen=True)
class Verdict:
    """What a policy says of a candidate.

    Args:
        passed: Whether the candidate may become champion, as far as this policy is concerned.
        reason: Why or why not, as it follows the candidate's name and a colon in a sentence.
        numbers: What it rests on, by the names of the ledger, as values that JSON holds.
    """

    passed: bool
    reason: str
    numbers: Mapping[str, Any]


class Policy(Protocol):
    """A rule without effects: the same measurements, the same verdict."""

    @property
    def name(self) -> str:
        """Of the policy, unlike that of any other."""

    def judge(self, candidate: Measurements, rivals: Sequence[Rival]) -> Verdict:
        """Judge a candidate.

        Args:
            candidate: Its measurements.
            rivals: What it has to beat; one or more.

        Raises:
            ValueError: The measurements cannot be compared.
        """


@dataclass(frozen=True)
class PairedGain:
    """A candidate passes if it gains over every rival, image by image.

    The gain has to be above zero in at least `confidence` of the resamples of a paired bootstrap.

    Args:
        metric: One of `chromaflow.metrics.catalog.deciding`.
        confidence: Share of the resamples, 0..1.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """

    metric: str
    confidence: float
    resamples: int
    seed: int
    name: str = "paired_gain"

    def judge(self, candidate: Measurements, rivals: Sequence[Rival]) -> Verdict:
        """Compare the candidate with each rival; the numbers are `metric`, `confidence`, `gains`.

        Args:
            candidate: Its measurements.
            rivals: Measured on the same images.

        Raises:
            ValueError: Other images, or a metric without a better and a worse.
        """
        gains = [(rival, self._gain(candidate, rival)) for rival in rivals]
        passed = all(gain.share >= self.confidence for _, gain in gains)
        evidence = " and ".join(
            f"{rival.noun} by {gain.mean:+.3g} {METRICS[self.metric].unit} "
            f"(above zero in {gain.share:.1%} of {gain.resamples} resamples of {gain.images} "
            "images)"
            for rival, gain in gains
        )
        refusal = f"it differs from {evidence}, and {self.confidence:.0%} are required of each"
        return Verdict(
            passed,
            f"it beats {evidence}" if passed else refusal,
            {
                "metric": self.metric,
                "confidence": self.confidence,
                "gains": {rival.name: asdict(gain) for rival, gain in gains},
            },
        )

    def _gain(self, candidate: Measurements, rival: Rival) -> Gain:
        return compare(
            candidate,
            rival.measurements,
            self.metric,
            resamples=self.resamples,
            interval=self.confidence,
            seed=self.seed,
        )


def policies(settings: Settings) -> tuple[Policy, ...]:
    """The policies that apply, all of which a candidate has to pass.

    Args:
        settings: `promotion` and `seed` are used.
    """
    promotion = settings.promotion
    return (PairedGain(promotion.metric, promotion.confidence, promotion.resamples, settings.seed),)
