import numpy as np
import pyarrow as pa
import pytest

from chromaflow.data.quality.grouping import Grouped, group, separation
from chromaflow.data.quality.quarantine import Quarantine
from chromaflow.data.snapshot.manifest import SCHEMA
from chromaflow.errors import DataError
from chromaflow.settings import Settings
from tests.support.manifests import Row, row


def grouped(entries: list[Row], **split: object) -> tuple[Grouped, dict[str, list[str]]]:
    """The groups, and the reasons of what was refused by the last digit of its id."""
    table = pa.Table.from_pylist(entries, schema=SCHEMA)
    quarantine = Quarantine(table)
    found = group(table, quarantine, Settings.model_validate({"split": split}))
    refused = quarantine.rejected().select(["id", "reasons"]).to_pylist()
    return found, {entry["id"][-1]: entry["reasons"] for entry in refused}


def test_historic_photographs_refuse_their_neighbors_and_parts() -> None:
    entries = [
        row(1, phash="0" * 16),
        row(2, phash="0" * 15 + "3"),
        row(3, phash="f" * 16, url="historic:x.jpg#1"),
        row(4, phash="0" * 15 + "1", split_hint="historic", url="historic:x.jpg"),
        row(5, phash="0f" * 8),
    ]
    found, refused = grouped(entries)
    reason = f"near the historic photograph {4:016x}"
    assert refused == {"1": [reason], "2": [reason], "3": [reason]}
    assert found.rows.tolist() == [3, 4]
    assert found.historic.tolist() == [True, False]
    assert len(set(found.names.to_pylist())) == 2


def test_what_judges_wins_over_what_trains() -> None:
    entries = [
        row(1, phash="0" * 16, split_hint="train"),
        row(2, phash="0" * 16, split_hint="test"),
        row(3, phash="0" * 16),
        row(4, phash="f" * 16, split_hint="train"),
    ]
    found, refused = grouped(entries)
    assert refused == {"1": [f"for train by its source, but near {2:016x}, which is for test"]}
    assert found.rows.tolist() == [1, 2, 3]
    assert grouped(entries, hints=False)[1] == {}


def test_what_was_refused_before_founds_no_group() -> None:
    table = pa.Table.from_pylist([row(1), row(2, phash=row(1)["phash"])], schema=SCHEMA)
    quarantine = Quarantine(table)
    quarantine.refuse("some", np.array([0]), ["why"])
    assert group(table, quarantine, Settings()).rows.tolist() == [1]


def test_broken_hashes_are_told() -> None:
    with pytest.raises(DataError, match="column phash"):
        grouped([row(1, phash="xyz")])
    with pytest.raises(DataError, match="column phash"):
        grouped([row(1, phash=None)])


@pytest.mark.parametrize(
    ("places", "splits", "apart"),
    [
        ([0, 0, 1, 3], [1, 1, 1, 1], [0, 0, 0, 0]),
        ([0, 2, 1, 3], [2, 2, 1, 1], [1, 1, 0, 0]),
        ([3, 0, 1, 3], [2, 2, 1, 1], [1, 1, 0, 0]),
    ],
)
def test_a_leak_between_any_two_places_is_seen(
    places: list[int], splits: list[int], apart: list[int]
) -> None:
    entries = [row(1), row(2, phash=row(1)["phash"]), row(3), row(4, split_hint="historic")]
    found, _ = grouped(entries)
    frame = separation(np.arange(4), found, np.array(places))
    assert frame["splits"].tolist() == splits
    assert frame["apart"].tolist() == apart


def test_near_hashes_of_different_groups_are_a_leak_too() -> None:
    found, _ = grouped([row(1, phash="0" * 16), row(2, phash="0" * 15 + "1")])
    apart = found._replace(names=pa.array(["a", "b"]).dictionary_encode())
    frame = separation(np.arange(2), apart, np.array([0, 2]))
    assert frame["splits"].tolist() == [1, 1]
    assert frame["apart"].max() == 1
