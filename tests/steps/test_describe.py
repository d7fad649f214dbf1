import json

import pytest

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
    assert result["folder"] == "reports/data"
    assert not result["sent"]
    folder = checkout.data_description
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["card.html", "card.md", "croissant.json", "samples"]
    assert '"../contact-sheets/index.html"' in (folder / "card.html").read_text()
    assert json.loads((folder / "croissant.json").read_text())["url"] == "card.html"
    assert (checkout.root / result["events"]).is_file()
    assert folder not in (checkout.root / result["events"]).parents
    before = digest_of_folder(folder)
    assert describe(checkout, Settings()) == result
    assert digest_of_folder(folder) == before


def test_where_a_server_is_named_it_is_told(checkout, monkeypatch):
    sent = []
    monkeypatch.setattr(
        openlineage, "send", lambda url, told: sent.append((url, len(told))) or True
    )
    values = Settings.model_validate({"lineage": {"url": "http://127.0.0.1:5000"}})
    assert describe(checkout, values)["sent"]
    assert sent == [("http://127.0.0.1:5000", 2)]


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
