import json
from collections.abc import Sequence
from pathlib import Path
from typing import Never

import pytest

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.errors import DataError
from chromaflow.project.files import digest_of_folder
from chromaflow.project.paths import Project
from chromaflow.reporting.metadata import croissant, openlineage
from chromaflow.settings import Settings
from chromaflow.steps.describe import describe


def test_a_snapshot_is_described_and_nothing_is_sent(
    checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> Never:
        raise AssertionError("it was sent")

    monkeypatch.setattr(openlineage, "send", fail)
    (checkout.page.parent / "contact-sheets").mkdir(parents=True)
    (checkout.page.parent / "contact-sheets" / "index.html").write_text("sheets")
    result = describe(checkout, Settings())
    assert result.folder == "reports/data"
    assert not result.server
    folder = checkout.data_description
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["card.html", "card.md", "croissant.json", "samples"]
    assert '"../contact-sheets/index.html"' in (folder / "card.html").read_text()
    assert json.loads((folder / "croissant.json").read_text())["url"] == "card.html"
    assert (checkout.root / result.events).is_file()
    assert folder not in (checkout.root / result.events).parents
    before = digest_of_folder(folder)
    assert describe(checkout, Settings()) == result
    assert digest_of_folder(folder) == before


def test_where_a_server_is_named_it_is_told(
    checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, int]] = []

    def send(url: str, told: Sequence[object]) -> bool:
        sent.append((url, len(told)))
        return True

    monkeypatch.setattr(openlineage, "send", send)
    values = Settings.model_validate({"lineage": {"url": "http://127.0.0.1:5000"}})
    result = describe(checkout, values)
    assert sent == [("http://127.0.0.1:5000", 2)]
    assert result.to_json()["sent"] is True
    assert result.summary().endswith(", reported to http://127.0.0.1:5000")


def test_a_server_that_does_not_answer_was_told_nothing(
    checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openlineage, "send", lambda *_: False)
    values = Settings.model_validate({"lineage": {"url": "http://127.0.0.1:5000"}})
    result = describe(checkout, values)
    assert result.to_json() == {
        "digest": read_snapshot(checkout).digest,
        "folder": "reports/data",
        "checked": result.checked,
        "events": result.events,
        "sent": False,
    }
    assert result.summary() == f"reports/data: snapshot {result.digest[:12]}"


def test_a_description_that_fails_leaves_the_old_one_whole(
    checkout: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(checkout, Settings())
    before = digest_of_folder(checkout.data_description)

    def fail(path: Path) -> Never:
        raise DataError(f"{path.name} is not valid Croissant")

    monkeypatch.setattr(croissant, "check", fail)
    with pytest.raises(DataError):
        describe(checkout, Settings())
    assert digest_of_folder(checkout.data_description) == before
    assert not [path for path in checkout.page.parent.iterdir() if path.name[0] == "."]
