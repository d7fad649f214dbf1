"""OpenLineage: where the snapshot came from and what was expected of it, for a lineage server."""

import os
import re
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attr
import pyarrow as pa
import pyarrow.compute as pc
from openlineage.client import event_v2 as ol
from openlineage.client.facet_v2 import (
    DatasetFacet,
    data_quality_assertions_dataset,
    data_quality_metrics_dataset,
    dataset_version_dataset,
    datasource_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.serde import Serde
from openlineage.client.transport.http import HttpConfig, HttpTransport

from chromaflow import __version__
from chromaflow.data.snapshot.read import Snapshot, common_address, counts, select
from chromaflow.data.sources.origins import ORIGINS
from chromaflow.errors import ChromaflowWarning, SettingsError
from chromaflow.project.files import write_text
from chromaflow.project.paths import Project

KEY_VARIABLE = "OPENLINEAGE_API_KEY"
_PRODUCER = f"urn:chromaflow:{__version__}"
_TIMEOUT_SECONDS = 3.0
# A server that answers byte by byte passes every timeout of a single read.
_DEADLINE_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@attr.define
class LicensesFacet(DatasetFacet):
    """Under how many images each license stands; the standard has no facet for licenses."""

    licenses: list[dict[str, Any]]


def events(snapshot: Snapshot, namespace: str, time: datetime | None = None) -> list[ol.RunEvent]:
    """The runs that made the snapshot: ingest, from the sources, and validate.

    A run is named by what it made, so the same snapshot sent twice is one run to the server.

    Args:
        snapshot: Read from disk.
        namespace: Of jobs and of the data sets in `data/`.
        time: When it is sent; now if left out.
    """
    now = (time or datetime.now(UTC)).isoformat(timespec="milliseconds")
    raw = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(
            snapshot.raw_md5 or snapshot.raw_manifest, producer=_PRODUCER
        ),
        "chromaflow_licenses": _licenses(snapshot.every("license")),
    }
    size = sum(shard.size for shard in snapshot.shards.values())
    made = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=snapshot.validation.rows,
        size=size,
        fileCount=len(snapshot.shards),
        producer=_PRODUCER,
    )
    ingest = _run(
        *(namespace, "ingest", snapshot.raw_manifest, now),
        inputs=list(_sources(snapshot, namespace)),
        outputs=[ol.OutputDataset(namespace, "data/raw", {"outputStatistics": made}, facets=raw)],
    )
    judged = ol.InputDataset(
        namespace, "data/raw", {"dataQualityAssertions": _assertions(snapshot)}, facets=raw
    )
    validate = _run(
        *(namespace, "validate", snapshot.digest, now),
        inputs=[judged],
        outputs=[_accepted(snapshot, namespace)],
    )
    return [ingest, validate]


def _run(
    namespace: str,
    job: str,
    digest: str,
    time: str,
    inputs: list[ol.InputDataset],
    outputs: list[ol.OutputDataset],
) -> ol.RunEvent:
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{_PRODUCER}/{namespace}/{job}/{digest}")
    return ol.RunEvent(
        eventTime=time,
        producer=_PRODUCER,
        eventType=ol.RunState.COMPLETE,
        run=ol.Run(str(name)),
        job=ol.Job(namespace, job),
        inputs=inputs,
        outputs=outputs,
    )


def _sources(snapshot: Snapshot, namespace: str) -> Iterator[ol.InputDataset]:
    every = snapshot.every("source", "url", "license")
    for name, _ in counts(every, "source"):
        rows = select(every, "source", name)
        origin = ORIGINS.get(name)
        address = common_address(rows) or (origin.url if origin else "")
        parts = urlsplit(address)
        place = f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.scheme
        facet = datasource_dataset.DatasourceDatasetFacet(
            name=name, uri=address or None, producer=_PRODUCER
        )
        facets = {"dataSource": facet, "chromaflow_licenses": _licenses(rows)}
        yield ol.InputDataset(place or namespace, name, facets=facets)


def _accepted(snapshot: Snapshot, namespace: str) -> ol.OutputDataset:
    table = snapshot.accepted
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(
            snapshot.digest, producer=_PRODUCER
        ),
        "schema": schema_dataset.SchemaDatasetFacet(
            [
                schema_dataset.SchemaDatasetFacetFields(name=field.name, type=str(field.type))
                for field in table.schema
            ],
            producer=_PRODUCER,
        ),
        "dataQualityMetrics": data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
            columnMetrics={field.name: _metrics(table[field.name]) for field in table.schema},
            rowCount=len(table),
            bytes=snapshot.manifest.size,
            fileCount=1,
            producer=_PRODUCER,
        ),
        "chromaflow_licenses": _licenses(table),
    }
    made = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=len(table), size=snapshot.manifest.size, fileCount=1, producer=_PRODUCER
    )
    return ol.OutputDataset(namespace, "data/validated", {"outputStatistics": made}, facets=facets)


def _metrics(column: pa.ChunkedArray) -> data_quality_metrics_dataset.ColumnMetrics:
    facts: dict[str, Any] = {"nullCount": column.null_count}
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        low, middle, high = pc.quantile(column, q=[0, 0.5, 1]).to_pylist()
        if low is not None:
            facts |= {"min": float(low), "max": float(high), "quantiles": {"0.5": float(middle)}}
    return data_quality_metrics_dataset.ColumnMetrics(**facts)


def _assertions(
    snapshot: Snapshot,
) -> data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet:
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        [
            data_quality_assertions_dataset.Assertion(
                assertion=rule.name,
                success=rule.success,
                column=rule.column or None,
                # Rows that fail are set aside; only a table that fails stops the step.
                severity="warn",
                actual=f"{rule.unexpected} unexpected",
            )
            for rule in snapshot.validation.expectations
        ],
        producer=_PRODUCER,
    )


def _licenses(table: pa.Table) -> LicensesFacet:
    found = [
        {"license": name or "unknown", "images": count} for name, count in counts(table, "license")
    ]
    return LicensesFacet(found, producer=_PRODUCER)


def write_events(project: Project, events: list[ol.RunEvent], digest: str) -> Path:
    """Write the events of a snapshot as NDJSON into `.chromaflow/lineage`, one file a snapshot."""
    path = project.state / "lineage" / f"{digest[:16]}.ndjson"
    write_text(path, "".join(Serde.to_json(event) + "\n" for event in events))
    return path


def send(url: str, events: list[ol.RunEvent], environment: Mapping[str, str] = os.environ) -> bool:
    """Send events to a server that speaks OpenLineage; one that does not answer costs a warning.

    Args:
        url: Of the server, without the path of its API.
        events: What to send.
        environment: `OPENLINEAGE_API_KEY` is the server's key, if it asks for one.

    Returns:
        Whether the server took them all.

    Raises:
        SettingsError: The key would cross a network in the clear.
    """
    transport = _transport(url, environment.get(KEY_VARIABLE, ""))
    failure = ["it did not answer in time"]

    def emit() -> None:
        try:
            for event in events:
                transport.emit(event)  # type: ignore[arg-type]
            failure.clear()
        except Exception as error:
            # The text of the error may hold the address with what the server redirected to.
            failure[:] = [_reason(error)]
        finally:
            transport.close()

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    thread.join(_DEADLINE_SECONDS)
    if failure:
        warnings.warn(
            f"lineage.url = {url}: the lineage events were not accepted: {failure[0]}; they "
            "stand in "
            ".chromaflow/lineage, and chromaflow describe sends them again",
            ChromaflowWarning,
            stacklevel=2,
        )
    return not failure


def _transport(url: str, key: str) -> HttpTransport:
    import requests  # noqa: PLC0415 (with openlineage, only when something is sent)

    parts = urlsplit(url)
    loopback = parts.hostname in _LOOPBACK
    if key and parts.scheme != "https" and not loopback:
        raise SettingsError(
            f"lineage.url = {url}: {KEY_VARIABLE} would be sent unencrypted.",
            "an https address, or no key",
        )
    session = requests.Session()
    # Neither a proxy nor the passwords in ~/.netrc have a part in talking to this machine.
    session.trust_env = not loopback
    session.max_redirects = 0
    session.stream = True
    # What was not taken is on disk and sent by the next describe; urllib3 would log each retry.
    retry = {"total": 0, "status_forcelist": []}
    auth = {"auth": {"type": "api_key", "apiKey": key}} if key else {}
    config = HttpConfig.from_dict(
        {"url": url.rstrip("/") + "/", "timeout": _TIMEOUT_SECONDS, "retry": retry, **auth}
    )
    config.session = session
    return HttpTransport(config)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"it answered with status {response.status_code}"
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", type(error).__name__).lower()
