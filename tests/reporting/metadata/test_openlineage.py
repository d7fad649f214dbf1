import http.server
import json
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde

from chromaflow import settings
from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.errors import ChromaflowWarning, SettingsError
from chromaflow.project.paths import Project
from chromaflow.reporting.metadata import openlineage
from chromaflow.settings import Settings

KEY = {openlineage.KEY_VARIABLE: "top-secret"}


class Server(http.server.ThreadingHTTPServer):
    """A lineage server that keeps what it is sent."""

    daemon_threads = True

    def __init__(self, status: int = 201, location: str = "", drip: bool = False) -> None:
        self.status, self.location, self.drip = status, location, drip
        self.taken: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its server was told to."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, dict(self.headers), json.loads(body)))
        if self.server.drip:
            for byte in b"HTTP/1.1 201 Created\r\n" * 100:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def told(checkout: Project) -> list[RunEvent]:
    return openlineage.events(read_snapshot(checkout), "photos")


def check_facet(facet: dict[str, Any]) -> None:
    assert facet["_producer"]
    assert facet["_schemaURL"].startswith("https://openlineage.io/spec/")


def check_event(event: dict[str, Any]) -> None:
    """What the JSON schema of OpenLineage 2-0-2 requires of a RunEvent, read by hand."""
    assert {"run", "job", "eventTime", "producer", "schemaURL"} <= set(event)
    assert event["schemaURL"].endswith("OpenLineage.json#/$defs/RunEvent")
    assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    uuid.UUID(event["run"]["runId"])
    assert event["job"]["namespace"]
    assert event["job"]["name"]
    for data_set in event["inputs"] + event["outputs"]:
        assert data_set["namespace"]
        assert data_set["name"]
        parts = ("facets", "inputFacets", "outputFacets")
        for facet in [facet for part in parts for facet in data_set.get(part, {}).values()]:
            check_facet(facet)


def test_a_server_takes_the_way_from_source_to_snapshot(
    checkout: Project, told: list[RunEvent]
) -> None:
    with Server() as server:
        assert openlineage.send(server.url, told, KEY)
        (first_path, headers, ingest), (_, _, validate) = server.taken
    assert first_path == "/api/v1/lineage"
    assert headers["Authorization"] == "Bearer top-secret"
    for event in (ingest, validate):
        check_event(event)
    assert [entry["name"] for entry in ingest["inputs"]] == ["sample"]
    assert ingest["inputs"][0]["facets"]["dataSource"]["uri"] == "skimage:"
    assert ingest["outputs"][0]["name"] == validate["inputs"][0]["name"] == "data/raw"
    assert ingest["outputs"][0]["facets"] == validate["inputs"][0]["facets"]
    rules = validate["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [rule["success"] for rule in rules] == [True, True, False]
    (accepted,) = validate["outputs"]
    snapshot = read_snapshot(checkout)
    assert accepted["facets"]["version"]["datasetVersion"] == snapshot.digest
    names = [field["name"] for field in accepted["facets"]["schema"]["fields"]]
    assert names == pq.read_schema(checkout.validated / "manifest.parquet").names
    metrics = accepted["facets"]["dataQualityMetrics"]
    assert metrics["rowCount"] == 5
    assert metrics["columnMetrics"]["mean_chroma"]["max"] == 16.5
    assert accepted["facets"]["chromaflow_licenses"]["licenses"] == [
        {"license": "CC0 (somebody)", "images": 3},
        {"license": "CC BY 4.0", "images": 2},
    ]


def test_the_events_on_disk_are_one_a_line_and_hold_no_key(
    checkout: Project, told: list[RunEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(openlineage.KEY_VARIABLE, "top-secret")
    path = openlineage.write_events(checkout, told, read_snapshot(checkout).digest)
    text = path.read_text()
    assert [json.loads(line)["job"]["name"] for line in text.splitlines()] == ["ingest", "validate"]
    assert "top-secret" not in text
    assert str(checkout.root) not in text


def test_one_snapshot_is_one_run_however_often_it_is_told(checkout: Project) -> None:
    snapshot = read_snapshot(checkout)
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    first = [Serde.to_dict(event) for event in openlineage.events(snapshot, "photos", noon)]
    again = [Serde.to_dict(event) for event in openlineage.events(snapshot, "photos", noon)]
    assert first == again
    names = {event["run"]["runId"] for event in first}
    other = {event.run.runId for event in openlineage.events(snapshot, "other")}
    assert len(names | other) == 4


def refused(url: str, told: list[RunEvent], environment: Mapping[str, str] | None = None) -> str:
    with pytest.warns(ChromaflowWarning, match="were not accepted") as caught:
        assert not openlineage.send(url, told, KEY if environment is None else environment)
    (warning,) = caught
    assert "top-secret" not in str(warning.message)
    return str(warning.message)


def test_a_server_that_is_down_costs_a_warning(told: list[RunEvent]) -> None:
    with Server() as server:
        url = server.url
    assert "connection error" in refused(url, told)


def test_a_server_that_refuses_costs_a_warning(told: list[RunEvent]) -> None:
    with Server(status=500) as server:
        assert "status 500" in refused(server.url, told)
        assert len(server.taken) == 1
    with Server(status=401) as server:
        assert "status 401" in refused(server.url, told, {})
        assert "Authorization" not in server.taken[0][1]


def test_a_redirect_is_not_followed(told: list[RunEvent]) -> None:
    with Server() as other, Server(status=307, location=other.url) as server:
        assert "status 307" in refused(server.url, told)
        assert not other.taken


def test_a_server_that_answers_byte_by_byte_is_left(
    told: list[RunEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openlineage, "_DEADLINE_SECONDS", 0.5)
    with Server(drip=True) as server:
        assert "in time" in refused(server.url, told)


def test_a_proxy_has_no_part_in_talking_to_this_machine(
    told: list[RunEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Server() as server:
        assert openlineage.send(server.url, told, {})


def test_a_key_never_crosses_a_network_in_the_clear(told: list[RunEvent]) -> None:
    with pytest.raises(SettingsError, match="unencrypted") as caught:
        openlineage.send("http://lineage.example", told, KEY)
    assert "top-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:top-secret@host",
        "https://host/?key=top-secret",
        "https://host/#top-secret",
        "ftp://host",
        "host:5000",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(project: Project, url: str) -> None:
    with pytest.raises(SettingsError, match=r"lineage\.url") as caught:
        settings.load(project, overrides=[f"lineage.url={url}"])
    assert "top-secret" not in str(caught.value)
    assert Settings().lineage.url == ""
