"""Quick looks into the registry without importing MLflow, which alone takes seconds.

A retraining that changes nothing asks only whether these weights have a version and which version
is the champion. A local database answers by SQL and a server by REST; whatever does not answer as
expected is asked again through MLflow's own client.
"""

import base64
import json
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from chromaflow.project.addresses import is_server, public_address
from chromaflow.provenance.facts import VersionFacts
from chromaflow.tracking.client import require_server, sqlite_path, translate_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SECONDS = 5.0
_SQL = """
SELECT v.version, v.run_id, COALESCE(v.storage_location, v.source), v.creation_time
FROM model_versions v
WHERE v.name = :model AND v.current_stage IS NOT 'Deleted_Internal' AND v.version IN (
    SELECT version FROM registered_model_aliases WHERE name = :model AND alias = :alias
    UNION
    SELECT version FROM model_version_tags
    WHERE name = :model AND key = 'digest' AND value = :digest AND :digest != ''
)
ORDER BY v.version LIMIT 1
"""


@dataclass(frozen=True)
class Version:
    """One version of the registered model.

    Args:
        model: Name of the registered model.
        version: Its number.
        run_id: The run that made it.
        source: Where its artifact lies.
        created: Milliseconds since 1970, UTC.
        tags: What was written on it when it was registered.
    """

    model: str
    version: int
    run_id: str
    source: str
    created: int
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> VersionFacts:
        """What its tags say."""
        return VersionFacts.from_tags(self.tags)

    @property
    def digest(self) -> str:
        """SHA-256 of the model folder, as registered; empty on a version not from chromaflow."""
        return self.facts.digest


class _NoQuickAnswerError(Exception):
    """The quick way does not know; MLflow's client has to be asked."""


def find(
    uri: str,
    model: str,
    connect: Callable[[], "MlflowClient"],
    *,
    alias: str = "",
    digest: str = "",
) -> Version | None:
    """The first version of a model with an alias, or else with a digest; None where there is none.

    Args:
        uri: The address of MLflow.
        model: Name of the registered model.
        connect: Gives MLflow's client; called where there is no quick answer.
        alias: Of the version.
        digest: SHA-256 of the model folder.

    Raises:
        ServerError: The server does not answer.
    """
    require_server(uri)
    try:
        if is_server(uri):
            return _by_rest(uri, model, alias, digest)
        return _by_sql(uri, model, alias, digest)
    except _NoQuickAnswerError:
        return _by_client(connect(), uri, model, alias, digest)


def _by_sql(uri: str, model: str, alias: str, digest: str) -> Version | None:
    path = sqlite_path(uri)
    if path is None:
        raise _NoQuickAnswerError
    if not path.exists():
        return None
    try:
        file = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(file, uri=True, timeout=_SECONDS)
        try:
            wanted = {"model": model, "alias": alias, "digest": digest}
            row = connection.execute(_SQL, wanted).fetchone()
            if row is None:
                return None
            tags = connection.execute(
                "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
                (model, row[0]),
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _NoQuickAnswerError from error
    number, run_id, source, created = row
    return Version(model, int(number), run_id or "", source, int(created), dict(tags))


def _by_rest(uri: str, model: str, alias: str, digest: str) -> Version | None:
    if alias:
        path, query = "registered-models/alias", {"name": model, "alias": alias}
    else:
        path, query = "model-versions/search", {"filter": version_filter(model, digest)}
    answer = _get_json(f"{uri.rstrip('/')}/api/2.0/mlflow/{path}?{urlencode(query)}")
    if answer is None:
        return None
    try:
        found = [answer["model_version"]] if alias else answer.get("model_versions", [])
        versions = [_from_rest(item) for item in found]
    except (KeyError, TypeError, ValueError) as error:
        raise _NoQuickAnswerError from error
    return min(versions, key=lambda version: version.version, default=None)


def _from_rest(item: Mapping[str, Any]) -> Version:
    return Version(
        model=item["name"],
        version=int(item["version"]),
        run_id=item.get("run_id", ""),
        source=item["source"],
        created=int(item["creation_timestamp"]),
        tags={tag["key"]: tag["value"] for tag in item.get("tags", [])},
    )


def _get_json(url: str) -> Any:
    request = urllib.request.Request(public_address(url), headers=_authorization(url))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as error:
        if _is_unknown(error):
            return None
        raise _NoQuickAnswerError from error
    except (OSError, ValueError) as error:
        raise _NoQuickAnswerError from error


def _is_unknown(error: urllib.error.HTTPError) -> bool:
    """Whether MLflow answers that it knows no such entry, rather than a proxy no such page."""
    try:
        answer = json.load(error)
    except (OSError, ValueError):
        return False
    return isinstance(answer, dict) and answer.get("error_code") == "RESOURCE_DOES_NOT_EXIST"


def _authorization(url: str) -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    parts = urlsplit(url)
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or parts.username or ""
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or parts.password or ""
    if not user:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def version_filter(model: str, digest: str) -> str:
    """MLflow's filter for the versions of a model with these weights."""
    name = model.replace("'", "")
    return f"name = '{name}' and tags.`digest` = '{digest}'"


def _by_client(
    client: "MlflowClient", uri: str, model: str, alias: str, digest: str
) -> Version | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 (seconds)

    with translate_errors(uri):
        if alias:
            try:
                found = [client.get_model_version_by_alias(model, alias)]
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                found = []
        else:
            found = list(client.search_model_versions(version_filter(model, digest)))
    versions = [
        Version(v.name, int(v.version), v.run_id or "", v.source, v.creation_timestamp, v.tags)
        for v in found
    ]
    return min(versions, key=lambda version: version.version, default=None)
