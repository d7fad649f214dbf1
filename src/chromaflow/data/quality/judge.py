"""Great Expectations in memory: nothing is stored but the Data Docs, and nothing is sent."""

import html
import re
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

from chromaflow.data.quality.expectations import NamedExpectations
from chromaflow.data.snapshot.validation import ExpectationResult
from chromaflow.project import files

_SITE = "data-docs"
# Failed rows that the Data Docs show for one rule; the quarantine holds all.
_SHOWN = 200
# Great Expectations' pages load fonts, styles and scripts from a dozen hosts, which would learn
# when and where a report is read. What the pages say does not need them.
_REMOTE = re.compile(
    r"<script[^>]*\bsrc=[\"']https?:[^>]*>\s*</script>|<link[^>]*\bhref=[\"']https?:[^>]*>"
    r"|<img[^>]*\bsrc=[\"']https?:[^>]*>"
)
_REMOTE_IMAGE = re.compile(r"url\(\s*[\"']?https?:[^)]*\)")
_STYLE = """<style>
body { font-family: system-ui, sans-serif; margin: 1rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top }
.row { display: block } .collapse { display: block }
.modal, .ge-walkthrough-modal, .card, footer { display: none }
.fa-check-circle::before { content: "✓" } .fa-times::before { content: "✗"; color: #b00 }
</style>
</head>"""
_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Validation of the manifest</title>
{style}
<body>
<h1>Validation of the manifest</h1>
<p>What Great Expectations found, by table. A row that fails is an image for quarantine; a table
that fails stops the run.</p>
<table><tr><th>Table</th><th>Rule</th><th>Column</th><th></th><th>Failed</th></tr>
{rows}
</table>
</body></html>
"""


def _localize(page: str) -> str:
    page = _REMOTE_IMAGE.sub("none", _REMOTE.sub("", page))
    return page.replace("</head>", _STYLE, 1)


@dataclass(frozen=True)
class Outcome:
    """What came out of one expectation: its result, and the rows that failed, (N,)."""

    result: ExpectationResult
    rows: NDArray[np.int64]


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
    unexpected = int(item.result.get("unexpected_count", 0 if item.success else 1))
    result = ExpectationResult(
        name=name, column=column, success=bool(item.success), unexpected=unexpected
    )
    return Outcome(result, rows)


class Judge:
    """Great Expectations, and its results so far."""

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
        self._judged: dict[str, list[Outcome]] = {}

    def judge(
        self, name: str, table: pd.DataFrame, asked: NamedExpectations, ids: pa.Array | None = None
    ) -> list[Outcome]:
        """Check a table.

        Numbers cost little: a million rows and a dozen expectations take a second. What fails is
        given by its position; a list of ids and values of every failed row would cost more than the
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
        self._judged[name] = list(outcomes)
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
        """Write the Data Docs of everything validated so far, replacing older ones whole.

        Args:
            folder: Of the static site; its `index.html` is the start. It opens from disk: nothing
                in it is fetched from elsewhere.
        """
        with files.atomic_folder(folder) as temporary:
            self._build(temporary)
            for page in temporary.rglob("*.html"):
                page.write_text(_localize(page.read_text(encoding="utf-8")), encoding="utf-8")
            # The index of Great Expectations is empty without the scripts of other hosts.
            (temporary / "index.html").write_text(self._index(temporary), encoding="utf-8")

    def _index(self, folder: Path) -> str:
        """All expectations on one page, each with the page that shows what it found."""
        rows = []
        for name, outcomes in self._judged.items():
            (page,) = (folder / "validations" / name).rglob("*.html")
            link = f'<a href="{page.relative_to(folder).as_posix()}">{html.escape(name)}</a>'
            for result in (outcome.result for outcome in outcomes):
                mark = "✓" if result.success else "✗"
                cells = (link, html.escape(result.name), html.escape(result.column), mark)
                count = result.unexpected
                rows.append(f"<tr><td>{'</td><td>'.join(cells)}</td><td>{count:,}</td></tr>")
        return _INDEX.format(style=_STYLE, rows="\n".join(rows))

    def _build(self, folder: Path) -> None:
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
