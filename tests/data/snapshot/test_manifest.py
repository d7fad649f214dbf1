from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chromaflow.data.snapshot.manifest import (
    KINDS,
    MEANINGS,
    REPEATED,
    SCHEMA,
    photographs_of,
    read_manifest,
    read_raw,
    read_validated,
    to_table,
    write_manifest,
)
from chromaflow.errors import DataError
from tests.support.manifests import row, rows


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    whole = to_table(rows(6))
    pieces = pa.concat_tables([whole.slice(0, 2), whole.slice(2)])
    write_manifest(tmp_path / "whole.parquet", whole)
    write_manifest(tmp_path / "pieces.parquet", pieces)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "pieces.parquet").read_bytes()
    assert read_manifest(tmp_path / "whole.parquet").equals(whole)


def test_the_next_ingest_reads_what_an_older_one_wrote_and_what_is_not_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "manifest.parquet"
    assert read_manifest(path).equals(SCHEMA.empty_table())
    write_manifest(path, to_table([row(1)]).drop_columns(["free_chroma"]))
    assert read_manifest(path)["free_chroma"].to_pylist() == [None]
    with pytest.raises(DataError, match="lacks the columns free_chroma") as caught:
        read_raw(path)
    assert caught.value.remedy == f"rm {path}, then chromaflow ingest"


def test_repeated_texts_are_read_as_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, to_table(rows(3)))
    schema = read_raw(path).schema
    found = {field.name for field in schema if pa.types.is_dictionary(field.type)}
    assert found == set(REPEATED)
    assert schema.names == SCHEMA.names


def test_what_is_missing_or_broken_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "quarantine.parquet"
    with pytest.raises(DataError, match=f"there is no {path}") as caught:
        read_validated(path, ["id"])
    assert caught.value.remedy == "chromaflow validate"
    with pytest.raises(DataError, match=f"there is no {path}") as caught:
        read_raw(path)
    assert caught.value.remedy == "chromaflow ingest"
    path.write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(DataError, match=f"{path} cannot be read"):
        read_validated(path, ["id"])
    pq.write_table(pa.table({"id": ["a"], "key": ["b"]}), path)
    assert read_validated(path, ["key"]).to_pylist() == [{"key": "b"}]
    with pytest.raises(DataError, match="lacks the columns reasons, rules"):
        read_validated(path, ["id", "rules", "reasons"])


def test_every_table_has_the_columns_of_the_raw_manifest() -> None:
    for kind in KINDS.values():
        assert kind.schema.names[: len(SCHEMA)] == SCHEMA.names
        assert set(kind.schema.names) <= set(MEANINGS)


def test_tiles_of_one_photograph_share_what_stands_before_the_hash() -> None:
    urls = pa.array(["a.jpg#0,0", "a.jpg#0,64#2", "b.jpg", None, "c\n.jpg#1\n2"])
    assert photographs_of(urls).to_pylist() == ["a.jpg", "a.jpg", "b.jpg", None, "c\n.jpg"]
    plain = pa.array(["a.jpg", None])
    assert photographs_of(plain).equals(plain)
