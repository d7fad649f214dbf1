import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chromaflow.errors import ModelError
from chromaflow.provenance import ledger


def write(path: Path, count: int) -> list[dict[str, Any]]:
    return [ledger.append(path, {"action": "promote", "version": n}) for n in range(1, count + 1)]


def test_a_fresh_chain_holds_and_gives_back_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.jsonl"
    written = write(path, 3)
    assert ledger.verify(path) is None
    assert [entry["version"] for entry in ledger.read(path)] == [1, 2, 3]
    found = ledger.find(path, written[1]["line"])
    assert found is not None
    assert found["version"] == 2
    assert ledger.find(path, "0" * 64) is None
    assert written[0]["time"].endswith("+00:00")


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert ledger.verify(tmp_path / "none") is None
    assert ledger.read(tmp_path / "none") == []


@pytest.mark.parametrize("line", [1, 2])
def test_a_changed_line_is_named_and_nothing_is_added(tmp_path: Path, line: int) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, 3)
    lines = path.read_text().splitlines()
    lines[line - 1] = lines[line - 1].replace('"promote"', '"refuse"')
    path.write_text("\n".join(lines) + "\n")
    assert ledger.verify(path) == line
    before = path.read_bytes()
    with pytest.raises(ModelError, match=f"line {line}"):
        ledger.append(path, {"action": "promote"})
    with pytest.raises(ModelError, match=str(path)):
        ledger.read(path)
    assert path.read_bytes() == before


def test_a_changed_last_line_is_no_longer_found_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    last = write(path, 2)[-1]
    path.write_text(path.read_text().replace('"version": 2', '"version": 9'))
    assert ledger.find(path, last["line"]) is None


@pytest.mark.parametrize("removed", [0, 1])
def test_a_removed_line_breaks_the_chain(tmp_path: Path, removed: int) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, 3)
    lines = path.read_text().splitlines()
    del lines[removed]
    path.write_text("\n".join(lines) + "\n")
    assert ledger.verify(path) == 1


@pytest.mark.parametrize("rubbish", ["not json", "[1]", "{}", '"text"', "null"])
def test_rubbish_is_named(tmp_path: Path, rubbish: str) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, 2)
    with path.open("a") as file:
        file.write(rubbish + "\n")
    assert ledger.verify(path) == 3


def test_the_torn_end_of_a_killed_append_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write(path, 2)
    with path.open("a") as file:
        file.write('{"action": "prom')
    assert ledger.verify(path) is None
    assert len(ledger.read(path)) == 2
    ledger.append(path, {"action": "refuse"})
    assert [entry["action"] for entry in ledger.read(path)] == ["promote", "promote", "refuse"]


def _append_many(path: Path, name: int) -> None:
    for number in range(20):
        ledger.append(path, {"by": name, "number": number})


def test_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = ledger.read(path)
    assert len(entries) == 80
    for name in range(4):
        assert [e["number"] for e in entries if e["by"] == name] == list(range(20))


texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(texts.filter(lambda k: k not in ("time", "previous")), texts)))
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    for entry in entries:
        ledger.append(path, entry)
    assert ledger.verify(path) is None
    kept = [
        {k: v for k, v in e.items() if k not in ("time", "previous")} for e in ledger.read(path)
    ]
    assert kept == [json.loads(json.dumps(entry)) for entry in entries]
