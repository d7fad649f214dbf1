"""Great Expectations in memory: nothing is stored but the Data Docs, and nothing is sent."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from numpy.typing import NDArray

from chromaflow.quality.expectations import Asked

_SITE = "data-docs"
# Failed rows that the Data Docs show for one rule; the quarantine holds all.
_SHOWN = 200


@dataclass(frozen=True)
class Outcome:
    """What came out of one expectation: how many rows failed, and which."""

    name: str
    column: str
    success: bool
    unexpected: int
    rows: NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        """The outcome as `validation.json` lists it."""
        return {
            "name": self.name,
            "column": self.column,
            "success": self.success,
            "unexpected": self.unexpected,
        }


def _show(result: dict[str, Any], rows: NDArray[np.int64], column: str, ids: pa.Array) -> None:
    """Let the Data Docs name some failed rows by their ids, not all by their numbers."""
    shown = ids.take(pa.array(rows[:_SHOWN])).to_pylist()
    values = result["unexpected_list"]
    result["unexpected_index_list"] = [
        {column: value, "id": name} for value, name in zip(values, shown, strict=True)
    ]
    result["partial_unexpected_index_list"] = result["unexpected_index_list"][:20]
    result["unexpected_index_column_names"] = ["id"]


def _outcome(name: str, item: Any, ids: pa.Array | None) -> Outcome:
    column = str(item.expectation_config.kwargs.get("column", ""))
    rows = np.array(item.result.get("unexpected_index_list") or [], np.int64)
    if ids is not None and len(rows):
        _show(item.result, rows, column, ids)
    return Outcome(
        name=name,
        column=column,
        success=bool(item.success),
        unexpected=int(item.result.get("unexpected_count", 0 if item.success else 1)),
        rows=rows,
    )


class Judge:
    """Great Expectations, and what it judged so far."""

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
        self, name: str, table: pd.DataFrame, asked: Asked, ids: pa.Array | None = None
    ) -> list[Outcome]:
        """Check a table.

        Numbers cost little: a million rows and a dozen expectations take a second. What fails is
        told by its position; a list of ids and values of every failed row would cost more than the
        judging.

        Args:
            name: Of the table, for the Data Docs.
            table: Indexed by position.
            asked: Names of the expectations and themselves.
            ids: By which the Data Docs call the rows.

        Returns:
            One outcome an expectation, in their order.
        """
        suite = self._context.suites.add(gx.ExpectationSuite(name=name))
        for rule, expectation in asked:
            expectation.meta = {"name": rule}
            suite.add_expectation(expectation)
        asset = self._source.add_dataframe_asset(name)
        # Great Expectations copies the table for each of its questions.
        narrow = table[sorted({getattr(expectation, "column", "") for _, expectation in asked})]
        batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": narrow})
        result = batch.validate(
            suite,
            result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
        )
        found = {item.expectation_config.meta["name"]: item for item in result.results}
        outcomes = [_outcome(rule, found[rule], ids) for rule, _ in asked]
        self._keep(name, result)
        return outcomes

    def _keep(self, name: str, result: Any) -> None:
        """Keep a result for the Data Docs, as a validation definition would."""
        run = RunIdentifier(run_time=datetime.now(UTC))
        result.meta |= {"run_id": run, "validation_time": run.run_time}
        suite = ExpectationSuiteIdentifier(name=name)
        self._context.validation_results_store.store_validation_results(
            suite_validation_result=result,
            suite_validation_result_identifier=ValidationResultIdentifier(
                batch_identifier=name, expectation_suite_identifier=suite, run_id=run
            ),
            expectation_suite_identifier=suite,
        )

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
