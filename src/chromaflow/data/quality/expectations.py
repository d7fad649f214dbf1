"""What is expected of the manifest, row by row and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from great_expectations import expectations as gxe

from chromaflow.settings import Quality

NamedExpectations = Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Rule:
    """One rule for the rows of the manifest.

    Args:
        name: By which `validation.json` counts it.
        expectation: What Great Expectations checks; rows that are null in its column pass.
        reason: Why a row went to quarantine, to be filled with the row's facts and columns.
    """

    name: str
    expectation: Any
    reason: str


def matching(values: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The values that one of the patterns matches, whatever the case of their letters."""
    folded = [pattern.casefold() for pattern in patterns]
    return [v for v in values if any(fnmatchcase(v.casefold(), pattern) for pattern in folded)]


def _between(name: str, column: str, reason: str, **limits: float) -> Rule:
    return Rule(name, gxe.ExpectColumnValuesToBeBetween(column=column, **limits), reason)


def _size_rules(quality: Quality) -> list[Rule]:
    return [
        _between(
            "min_side",
            "shorter_side",
            f"shorter side {{shorter_side:.0f}} px is below quality.min_side = {quality.min_side}",
            min_value=quality.min_side,
        ),
        _between(
            "max_side",
            "longer_side",
            f"longer side {{longer_side:.0f}} px is above quality.max_side = {quality.max_side}",
            max_value=quality.max_side,
        ),
        _between(
            "max_aspect",
            "aspect",
            f"aspect {{aspect:g}} is above quality.max_aspect = {quality.max_aspect:g}",
            max_value=quality.max_aspect,
        ),
    ]


def _color_rules(quality: Quality) -> list[Rule]:
    return [
        _between(
            "min_luma_spread",
            "luma_spread",
            "blank: spread of L* {luma_spread:g} is below "
            f"quality.min_luma_spread = {quality.min_luma_spread:g}",
            min_value=quality.min_luma_spread,
        ),
        _between(
            "min_chroma",
            "mean_chroma",
            "grey: mean chroma {mean_chroma:g} is below "
            f"quality.min_chroma = {quality.min_chroma:g}",
            min_value=quality.min_chroma,
        ),
        _between(
            "min_chroma_spread",
            "chroma_spread",
            "{tone}: spread of chroma {chroma_spread:g} is below "
            f"quality.min_chroma_spread = {quality.min_chroma_spread:g}",
            min_value=quality.min_chroma_spread,
        ),
        _between(
            "min_free_share",
            "free_share",
            "{tone}: free share of chroma {free_share:.3g} is below "
            f"quality.min_free_share = {quality.min_free_share:g}",
            min_value=quality.min_free_share,
        ),
    ]


def row_rules(
    quality: Quality, licenses: Sequence[str], labels: Sequence[str]
) -> dict[str, list[Rule]]:
    """The rules that each image must meet, by what they ask about.

    Args:
        quality: The thresholds.
        licenses: All licenses in the manifest.
        labels: All its labels.
    """
    decodes = gxe.ExpectColumnValuesToBeInSet(column="decodes", value_set=[True])
    unique = gxe.ExpectColumnValuesToBeNull(column="copy_of")
    licensed = gxe.ExpectColumnValuesToNotBeNull(column="license")
    rules = [
        Rule("decodes", decodes, "does not decode: {error}"),
        Rule("unique", unique, "duplicate of {copy_of}"),
        Rule("license", licensed, "no license: source.license can state one"),
    ]
    for name, column, values, patterns in (
        ("license_allowed", "license", licenses, quality.licenses),
        ("label_known", "label", labels, quality.labels),
    ):
        if patterns:
            known = matching(values, patterns)
            expectation = gxe.ExpectColumnValuesToBeInSet(column=column, value_set=known)
            reason = f"{column} {{{column}!r}} is not in quality.{column}s"
            rules.append(Rule(name, expectation, reason))
    return {"records": rules, "sizes": _size_rules(quality), "colors": _color_rules(quality)}


def manifest_rules() -> NamedExpectations:
    """What the raw manifest must be as a table."""
    return [
        ("unique_ids", gxe.ExpectColumnValuesToBeUnique(column="id")),
        ("measured", gxe.ExpectColumnValuesToBeInSet(column="measured", value_set=[True])),
    ]


def snapshot_rules() -> NamedExpectations:
    """What the accepted images and the historic ones must satisfy as a table."""
    return [
        ("unique_contents", gxe.ExpectColumnValuesToBeUnique(column="sha256")),
        ("all_grouped", gxe.ExpectColumnValuesToNotBeNull(column="group")),
        ("groups_in_one_split", gxe.ExpectColumnMaxToBeBetween(column="splits", max_value=1)),
        ("near_in_one_split", gxe.ExpectColumnMaxToBeBetween(column="apart", max_value=0)),
    ]


def size_rules(quality: Quality) -> NamedExpectations:
    """What the number of accepted images must be, a table of one row."""
    few = quality.min_images
    return [("min_images", gxe.ExpectColumnMinToBeBetween(column="images", min_value=few))]


def label_rules(quality: Quality) -> NamedExpectations:
    """What the table of labels must be: one row a label, with its images and their share."""
    few, much = quality.min_label_images, quality.max_label_share
    return [
        ("min_label_images", gxe.ExpectColumnMinToBeBetween(column="images", min_value=few)),
        ("max_label_share", gxe.ExpectColumnMaxToBeBetween(column="share", max_value=much)),
    ]


def drift_rules(limit: float) -> NamedExpectations:
    """What the table of chroma bins must be: one row a bin, with its part of the index."""
    return [("max_drift", gxe.ExpectColumnSumToBeBetween(column="psi", max_value=limit))]


def table_rules(quality: Quality) -> NamedExpectations:
    """All the rules that stop the run where a table fails them."""
    return [
        *manifest_rules(),
        *snapshot_rules(),
        *size_rules(quality),
        *label_rules(quality),
        *drift_rules(quality.max_drift),
    ]
