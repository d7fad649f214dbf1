"""What Great Expectations asks of the manifest, row by row and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations import expectations as gxe
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from chromaflow.settings import Quality

# What this step reads of the raw manifest.
COLUMNS = (
    *("id", "source", "url", "label", "license", "sha256", "bytes", "width", "height", "decodes"),
    *("mean_chroma", "chroma_spread", "phash", "shard", "key", "error"),
)
_SITE = "data-docs"


@dataclass(frozen=True)
class Rule:
    """One rule for the rows of the manifest.

    Args:
        name: As `validation.json` counts it.
        expectation: What Great Expectations checks; rows that are null in its column pass.
        reason: Why a row went to quarantine, to be filled with the row's columns.
    """

    name: str
    expectation: Any
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came out of one expectation: how many rows failed, and the ids of those."""

    name: str
    column: str
    success: bool
    unexpected: int
    ids: list[str]

    def as_json(self) -> dict[str, Any]:
        """The outcome as `validation.json` lists it."""
        return {
            "name": self.name,
            "column": self.column,
            "success": self.success,
            "unexpected": self.unexpected,
        }


def add_derived(table: pd.DataFrame, copy_of: Sequence[str | None]) -> pd.DataFrame:
    """The manifest with the columns that the rules need and it does not hold.

    Args:
        table: The manifest, one row an image.
        copy_of: For each row the id of the image whose bytes it repeats, or None.
    """
    shorter = table[["width", "height"]].min(axis=1)
    longer = table[["width", "height"]].max(axis=1)
    return table.assign(
        shorter_side=shorter,
        aspect=longer / shorter,
        copy_of=pd.Series(copy_of, index=table.index, dtype="object"),
    )


def row_rules(quality: Quality) -> list[Rule]:
    """The rules that each image must meet."""

    def between(name: str, column: str, reason: str, **limits: float) -> Rule:
        return Rule(name, gxe.ExpectColumnValuesToBeBetween(column=column, **limits), reason)

    return [
        Rule(
            "decodes",
            gxe.ExpectColumnValuesToBeInSet(column="decodes", value_set=[True]),
            "does not decode: {error}",
        ),
        between(
            "min_side",
            "shorter_side",
            f"shorter side {{shorter_side:.0f}} px is below quality.min_side = {quality.min_side}",
            min_value=quality.min_side,
        ),
        between(
            "max_aspect",
            "aspect",
            f"aspect {{aspect:g}} is above quality.max_aspect = {quality.max_aspect:g}",
            max_value=quality.max_aspect,
        ),
        between(
            "min_chroma",
            "mean_chroma",
            "grey: mean chroma {mean_chroma:g} is below "
            f"quality.min_chroma = {quality.min_chroma:g}",
            min_value=quality.min_chroma,
        ),
        between(
            "min_chroma_spread",
            "chroma_spread",
            "tinted: spread of chroma {chroma_spread:g} is below "
            f"quality.min_chroma_spread = {quality.min_chroma_spread:g}",
            min_value=quality.min_chroma_spread,
        ),
        Rule("unique", gxe.ExpectColumnValuesToBeNull(column="copy_of"), "duplicate of {copy_of}"),
        Rule(
            "license",
            gxe.ExpectColumnValuesToNotBeNull(column="license"),
            "no license; source.license tells it",
        ),
    ]


def manifest_rules() -> list[tuple[str, Any]]:
    """What the raw manifest must be as a table."""
    return [
        ("columns", gxe.ExpectTableColumnsToMatchSet(column_set=list(COLUMNS), exact_match=False)),
        ("unique_ids", gxe.ExpectColumnValuesToBeUnique(column="id")),
    ]


def training_rules(quality: Quality) -> list[tuple[str, Any]]:
    """What the accepted images must be as a table."""
    return [
        ("min_images", gxe.ExpectTableRowCountToBeBetween(min_value=quality.min_images)),
        ("unique_contents", gxe.ExpectColumnValuesToBeUnique(column="sha256")),
        ("all_grouped", gxe.ExpectColumnValuesToNotBeNull(column="group")),
        ("groups_in_one_split", gxe.ExpectColumnMaxToBeBetween(column="splits", max_value=1)),
    ]


class Judge:
    """Great Expectations in memory: nothing is stored but the Data Docs, and nothing is sent."""

    def __init__(self) -> None:
        self._context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                analytics_enabled=False,
                progress_bars=ProgressBarsConfig(globally=False),
            ),
        )
        self._source = self._context.data_sources.add_pandas("chromaflow")

    def judge(
        self, name: str, table: pd.DataFrame, expectations: Sequence[tuple[str, Any]]
    ) -> list[Outcome]:
        """Check a table.

        Args:
            name: Of the table, for the Data Docs.
            table: With a column `id`.
            expectations: Their names and themselves.

        Returns:
            One outcome an expectation, in their order.
        """
        suite = self._context.suites.add(gx.ExpectationSuite(name=name))
        for rule, expectation in expectations:
            expectation.meta = {"name": rule}
            suite.add_expectation(expectation)
        asset = self._source.add_dataframe_asset(name)
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(
                name=name, data=asset.add_batch_definition_whole_dataframe(name), suite=suite
            )
        )
        result = definition.run(
            batch_parameters={"dataframe": table},
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["id"],
                "return_unexpected_index_query": False,
            },
        )
        found = {item.expectation_config.meta["name"]: item for item in result.results}
        return [_outcome(rule, found[rule]) for rule, _ in expectations]

    def write_docs(self, folder: Path) -> None:
        """Write the Data Docs of everything judged so far, a static site."""
        self._context.add_data_docs_site(
            _SITE,
            {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(folder),
                },
            },
        )
        self._context.build_data_docs(site_names=[_SITE])


def _outcome(name: str, item: Any) -> Outcome:
    ids = [str(entry["id"]) for entry in item.result.get("unexpected_index_list") or []]
    return Outcome(
        name=name,
        column=str(item.expectation_config.kwargs.get("column", "")),
        success=bool(item.success),
        unexpected=int(item.result.get("unexpected_count", 0 if item.success else 1)),
        ids=ids,
    )
