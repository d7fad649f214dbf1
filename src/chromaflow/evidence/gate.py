"""The decision whether a candidate becomes champion: measurements and policies in, no effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chromaflow.evaluation.baselines import BASELINES
from chromaflow.evaluation.measurements import Measurements
from chromaflow.evidence.policies import Policy, Rival, Verdict


@dataclass(frozen=True)
class Decision:
    """What the gate decides.

    Args:
        verdicts: Policy to its verdict, in the order in which the policies were asked.
    """

    verdicts: Mapping[str, Verdict]

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes champion: every policy lets it pass."""
        return all(verdict.passed for verdict in self.verdicts.values())

    @property
    def reason(self) -> str:
        """Why, in the words of all policies; why not, in those of the policies that it failed."""
        said = [v.reason for v in self.verdicts.values() if v.passed == self.promoted]
        return "; ".join(said)

    @property
    def numbers(self) -> dict[str, Any]:
        """What all policies rest on, by the names of the ledger."""
        return {
            name: value
            for verdict in self.verdicts.values()
            for name, value in verdict.numbers.items()
        }


def rivals_of(baselines: Mapping[str, Measurements], champion: Rival | None) -> tuple[Rival, ...]:
    """What a candidate has to beat: the champion, or all baselines where there is none.

    Args:
        baselines: Measurements by the names of `chromaflow.evaluation.baselines.BASELINES`.
        champion: The current champion, or None.

    Raises:
        ValueError: A baseline that is needed was not measured.
    """
    if champion is not None:
        return (champion,)
    missing = [name for name in BASELINES if name not in baselines]
    if missing:
        raise ValueError(f"there are no measurements of {' and '.join(missing)}")
    return tuple(Rival(name, one.noun, baselines[name]) for name, one in BASELINES.items())


def decide(
    candidate: Measurements, rivals: Sequence[Rival], policies: Sequence[Policy]
) -> Decision:
    """Judge a candidate by every policy.

    Args:
        candidate: Its measurements.
        rivals: What it has to beat, as of `rivals_of`.
        policies: All of which it has to pass.

    Raises:
        ValueError: Measurements that cannot be compared; no rival or no policy, for nothing is
            promoted without evidence; two policies of one name.
    """
    if not rivals or not policies:
        raise ValueError("a candidate is judged by one policy and one rival or more")
    if len({policy.name for policy in policies}) < len(policies):
        raise ValueError("two policies have the same name")
    return Decision({policy.name: policy.judge(candidate, rivals) for policy in policies})
