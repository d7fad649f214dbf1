from collections.abc import Callable

import pytest

from chromaflow.data.ingest.build import build_snapshot
from chromaflow.data.sources.base import Source, UnreadableError, open_source
from chromaflow.errors import DataError, ServerError
from chromaflow.project.paths import Project
from chromaflow.settings import Settings
from tests.support.hosts import COMMIT, Host, hub, parquet
from tests.support.photographs import photograph

NAMES = ["cat", "dog", "cow"]
REPOSITORY = "owner/pets"


def row(number: int) -> dict[str, object]:
    return {"image": {"bytes": photograph(number), "path": None}, "label": number % 3}


def files() -> dict[str, bytes]:
    """Three files of 20 rows in groups of 5, and one of another subset."""
    made = {
        f"data/train-0000{at}-of-00003.parquet": parquet(
            [row(number) for number in range(20 * at, 20 * at + 20)], NAMES, 5
        )
        for at in range(3)
    }
    return made | {"data/test-00000-of-00001.parquet": parquet([row(99)], NAMES, 5)}


def settings_of(host: Host, **source: object) -> Settings:
    values = {"name": "huggingface", "repository": REPOSITORY, "address": host.address}
    return Settings.model_validate({"source": {**values, "shard_images": 8, **source}})


def open_(checkout: Project, host: Host, **source: object) -> Source:
    return open_source("huggingface", checkout, settings_of(host, **source))


def test_every_image_with_its_label_and_license(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    source = open_(checkout, host)
    found = list(source.records())
    assert (source.total, len(found), len({r.url for r in found})) == (60, 60, 60)
    for number, record in enumerate(found):
        assert record.read() == photograph(number)
        assert (record.label, record.license) == (NAMES[number % 3], "cc0-1.0")
        assert (record.is_remote, record.split) == (True, "")
    assert all(record.url.startswith("huggingface:owner/pets/data/train-0000") for record in found)


def test_another_subset_hints_at_its_split(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    record = next(open_(checkout, host, subset="test").records())
    assert (record.split, record.read()) == ("test", photograph(99))


def test_a_draw_takes_groups_of_rows_and_reads_no_others(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    drawn = [record.url for record in open_(checkout, host, images=12).records()]
    assert len(drawn) == 12
    assert drawn == [record.url for record in open_(checkout, host, images=12).records()]
    more = {record.url for record in open_(checkout, host, images=20).records()}
    assert set(drawn) < more
    assert drawn != [r.url for r in open_(checkout, host, images=12, salt="other").records()]
    groups = {(url.rpartition("/")[0], int(url.rpartition("/")[2]) // 5) for url in drawn}
    assert len(groups) == 3


def test_categories_by_name_over_as_many_groups_as_they_need(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    source = open_(checkout, host, images=11, categories=["dog"])
    assert [record.label for record in source.records()] == ["dog"] * 11
    with pytest.raises(DataError, match="dgo; did you mean dog"):
        open_(checkout, host, categories=["dgo"])


def test_an_ingest_reads_only_what_is_missing(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    build_snapshot(checkout, settings_of(host, images=12))
    before = host.sent
    assert not build_snapshot(checkout, settings_of(host, images=12)).changed
    index = host.sent - before
    assert build_snapshot(checkout, settings_of(host, images=20)).added == 8
    # The test's files are smaller than a block, so that a block is a whole file.
    assert host.sent - before - index > index
    assert not (checkout.state / "downloads").exists()


def test_rows_without_bytes_and_broken_files_are_named(checkout: Project, host: Host) -> None:
    rows: list[dict[str, object]]
    rows = [row(0), {"image": None, "label": 1}, {"image": {"bytes": None}, "label": 7}, row(3)]
    content = parquet(rows, NAMES, 4)
    hub(host, REPOSITORY, {"data/train-0.parquet": content})
    records = list(open_(checkout, host).records())
    assert [record.label for record in records] == ["cat", "dog", "", "cat"]
    assert records[0].read() == photograph(0)
    for record in records[1:3]:
        with pytest.raises(UnreadableError, match="no bytes"):
            record.read()
    assert records[3].read() == photograph(3)
    middle = content.index(photograph(0)[:50])
    broken = content[: middle - 30] + bytes(200) + content[middle + 170 :]
    host.files[f"/datasets/{REPOSITORY}/resolve/{COMMIT}/data/train-0.parquet"] = broken
    with pytest.raises(UnreadableError):
        next(open_(checkout, host).records()).read()


def test_a_hub_that_stops_answering_ends_the_ingest_and_it_goes_on(
    checkout: Project, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub(host, REPOSITORY, files())

    class Bar:
        seen = 0

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> Callable[[int], None]:
            return self.advance

        def __exit__(self, *_: object) -> None:
            pass

        def advance(self, count: int) -> None:
            self.seen += count
            host.down = self.seen >= 18

    with pytest.raises(ServerError, match="the hub") as caught:
        build_snapshot(checkout, settings_of(host), Bar)
    assert "resumes" in caught.value.remedy
    host.down = False
    assert build_snapshot(checkout, settings_of(host)).images == 60


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"repository": ""}, "names no data set"),
        ({"repository": "owner/none"}, "does not exist"),
        ({"repository": "a/b/c"}, "write OWNER/NAME"),
        ({"revision": "none"}, "does not exist|no such"),
        ({"subset": "valid"}, "no Parquet files of valid"),
        ({"image_column": "img"}, r"no column img.*source\.image_column.*it has image, label"),
        ({"label_column": "class"}, r"no column class.*source\.label_column"),
    ],
)
def test_what_is_not_there_is_named(
    checkout: Project, host: Host, source: dict[str, str], problem: str
) -> None:
    hub(host, REPOSITORY, files())
    with pytest.raises(DataError, match=problem):
        open_(checkout, host, **source)


def test_a_file_that_is_no_parquet_is_named(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, {"data/train-0.parquet": b"PAR1 not at all"})
    with pytest.raises(DataError, match=r"train-0\.parquet of owner/pets is broken"):
        open_(checkout, host)


def test_a_set_without_labels(checkout: Project, host: Host) -> None:
    hub(host, REPOSITORY, files())
    assert {r.label for r in open_(checkout, host, label_column="", images=7).records()} == {""}
