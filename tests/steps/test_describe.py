import json

import pytest

from chromaflow.data.snapshot.read import read_snapshot
from chromaflow.errors import DataError
from chromaflow.project.files import digest_of_folder
from chromaflow.reporting.metadata import croissant, openlineage
from chromaflow.settings import Settings
from chromaflow.steps.describe import describe


def test_a_snapshot_is_described_and_nothing_is_sent(checkout, monkeypatch):
    def fail(*args):
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


def test_where_a_server_is_named_it_is_told(checkout, monkeypatch):
    sent = []
    monkeypatch.setattr(
        openlineage, "send", lambda url, told: sent.append((url, len(told))) or True
    )
    values = Settings.model_validate({"lineage": {"url": "http://127.0.0.1:5000"}})
    result = describe(checkout, values)
    assert sent == [("http://127.0.0.1:5000", 2)]
    assert result.to_json()["sent"] is True
    assert result.summary().endswith(", told to http://127.0.0.1:5000")


def test_a_server_that_does_not_answer_was_told_nothing(checkout, monkeypatch):
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


def test_a_description_that_fails_leaves_the_old_one_whole(checkout, monkeypatch):
    describe(checkout, Settings())
    before = digest_of_folder(checkout.data_description)

    def fail(path):
        raise DataError(f"{path.name} is not valid Croissant")

    monkeypatch.setattr(croissant, "check", fail)
    with pytest.raises(DataError):
        describe(checkout, Settings())
    assert digest_of_folder(checkout.data_description) == before
    assert not [path for path in checkout.page.parent.iterdir() if path.name[0] == "."]
