import pytest

from chromaflow.provenance.facts import (
    CodeFacts,
    DataCounts,
    DataFacts,
    FlowFacts,
    LockFacts,
    RunFacts,
    VersionFacts,
)

RUN = RunFacts(
    CodeFacts("c" * 40, "main", "true", "a.py, b.py", "all", "9"),
    DataFacts(raw_md5="1.dir", raw_manifest="2", validated_manifest="3", lab="4"),
    DataCounts({"rows": 3}, {"unique": 1}, {"train": 2}, {"sample": 2}, {"CC0 é": 2}, {"train": 1}),
    seed="17",
    lock=LockFacts("7", {"models/candidate": "8.dir"}),
    records={"params.yaml": "5"},
    flow=FlowFacts("run-7", "http://127.0.0.1:4200/runs/flow-run/run-7"),
)


def test_tags_give_the_facts_back() -> None:
    version = VersionFacts("d" * 64, "run", {"psnr": 21.25}, "6", RUN)
    assert RunFacts.from_tags(RUN.to_tags()) == RUN
    assert VersionFacts.from_tags(version.to_tags()) == version
    assert VersionFacts.from_tags({**version.to_tags(), "another": "tag"}) == version


def test_a_version_says_of_its_run_what_the_run_says() -> None:
    assert RUN.to_tags().items() <= VersionFacts("d", "run", run=RUN).to_tags().items()
    assert RUN.to_tags()["git.commit"] == "c" * 40
    assert RUN.to_tags()["data.raw.md5"] == "1.dir"


def test_a_step_knows_what_its_flow_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RUN.flow.to_environment().items():
        monkeypatch.setenv(name, value)
    assert FlowFacts.from_environment() == RUN.flow
    for name, value in FlowFacts().to_environment().items():
        monkeypatch.setenv(name, value)
    assert FlowFacts.from_environment() == FlowFacts()


def test_what_is_not_known_has_no_tag() -> None:
    assert RunFacts().to_tags() == {}
    assert VersionFacts.from_tags({}) == VersionFacts()


@pytest.mark.parametrize("text", ["", "no json", "[1]", "3"])
def test_a_tag_that_somebody_changed_is_no_error(text: str) -> None:
    assert VersionFacts.from_tags({"metrics": text}).metrics == {}


def test_a_long_text_is_cut_to_what_mlflow_takes() -> None:
    facts = CodeFacts(changed_files="a.py, " * 5000)
    assert len(facts.to_tags()["git.changed_files"]) == 8000


@pytest.mark.parametrize(
    ("commit", "known"),
    [("c" * 40, "c" * 40), ("none: no commit of git here", ""), ("", ""), ("C" * 40, "")],
)
def test_a_text_is_no_commit(commit: str, known: str) -> None:
    assert CodeFacts(commit).known_commit == known
