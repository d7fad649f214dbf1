import csv
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from chromaflow.errors import ModelError
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project
from chromaflow.provenance.data_facts import data_facts
from chromaflow.provenance.facts import ELSEWHERE, DataFacts
from chromaflow.reporting import page_facts, run_page
from chromaflow.reporting.svg import draw, read_curves
from chromaflow.settings import Settings
from chromaflow.steps.promote import promote
from chromaflow.steps.register import register
from chromaflow.tracking.client import connect
from chromaflow.tracking.registry.registry import Registry
from tests.support.manifests import report
from tests.support.tracking import WriteCandidate, WriteEvaluation

RAW = {"path": "data/raw", "md5": "1" * 32 + ".dir"}


def write_data(project: Project, source: str = "folder", number: int = 1) -> DataFacts:
    """Write data as the steps leave them; gives their digests."""
    table = {
        "id": ["image3", "image9"],
        "source": [source, source],
        "url": ["file:one.jpg#0,0,64", "file:two.jpg"],
        "label": ["<b>bold</b>", "two"],
        "license": ["CC0 & others", f"CC0 {number}"],
        "split": ["test", "train"],
    }
    project.validated.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), project.validated / "manifest.parquet")
    validation = report(
        rows=11 + number,
        accepted=8 + number,
        quarantined=3,
        reasons={"min_chroma": 3, "unique": number},
        splits={"train": 4 + number, "validation": 2, "test": 2},
    )
    files.write_json(project.validated / "validation.json", validation)
    files.write_text(project.raw / "manifest.parquet", f"rows {number}")
    record = {"outs": [{"md5": f"{number}" * 32 + ".dir", "path": "data/raw"}]}
    files.write_text(project.raw_record, yaml.safe_dump(record))
    files.write_text(project.lab / "train" / "index.json", f"shards {number}")
    return data_facts(project)


@pytest.fixture
def judged(
    project: Project,
    settings: Settings,
    write_candidate: WriteCandidate,
    write_evaluation: WriteEvaluation,
    light_package: None,
) -> str:
    """A candidate with its evaluation, pictures, data and curves, as the steps leave them."""
    digest = write_candidate()
    write_evaluation(digest)
    write_data(project)
    outputs = [{"path": "models/candidate", "md5": dvc.folder_md5(project.candidate)}]
    train = {"deps": [{"path": "data/lab", "md5": "5" * 32}], "outs": outputs}
    stages = {"preprocess": {"deps": [RAW], "outs": train["deps"]}, "train": train}
    files.write_text(project.root / "dvc.lock", yaml.safe_dump({"stages": stages}))
    curves = "step,train_loss,validation_loss\n10,3.0,\n20,2.0,2.5\n"
    files.write_text(project.training_report / "curves.csv", curves)
    training = {"digest": digest, "steps": 20, "images": {"train": 5}}
    files.write_json(project.training_report / "summary.json", training)
    return digest


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(path: Path) -> tuple[_Links, str]:
    parser = _Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser, " ".join(" ".join(parser.text).split())


def test_the_page_stands_alone(project: Project, settings: Settings, judged: str) -> None:
    page, _ = parse(run_page.write_report(project, settings))
    assert project.page.is_file()
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", project.page.read_text())


def test_the_page_tells_the_whole_chain(project: Project, settings: Settings, judged: str) -> None:
    result = register(project, settings)
    decision = promote(project, settings)
    _, text = parse(run_page.write_report(project, settings))
    assert "Version 1 is the champion" in text
    assert decision.reason[1:] in text
    for fact in (judged, result.run_id, "5" * 32, ELSEWHERE):
        assert fact in text
    # The checkout of this test holds no code.
    assert "Warning: not the code of the checkout" in text
    assert "9 accepted" in text
    assert "3 min chroma" in text
    assert "5 train" in text
    assert "file:one.jpg#0,0,64" in text
    assert files.sha256_of(project.validated / "manifest.parquet") in text
    assert "AuC, rebalanced" in text
    assert "What to expect from so few photographs" in text


def test_the_page_of_a_version_keeps_to_its_data_and_tells_what_differs_now(
    project: Project, settings: Settings, judged: str
) -> None:
    register(project, settings)
    lock = (project.root / "dvc.lock").read_bytes()
    _, text = parse(run_page.write_report(project, settings))
    assert "This page is about version 1" in text
    assert "As recorded with version 1 when the weights were registered." in text
    assert "differs" not in text
    before = data_facts(project)
    now = write_data(project, source="unsplash", number=7)
    (project.root / "dvc.lock").write_text("stages: {}\n")
    _, text = parse(run_page.write_report(project, settings))
    own = ("12 images validated", "9 accepted", "5 train", "1 unique", "2 from folder", "CC0 1")
    for fact in (*own, *vars(before).values(), hashlib.sha256(lock).hexdigest(), "5" * 32):
        assert fact in text
    for fact in ("18 images validated", "15 accepted", "11 train", "7 unique", "unsplash", "CC0 7"):
        assert fact not in text
    assert f"Today's data/raw differs: MD5 in data.dvc {now.raw_md5}." in text
    assert f"Today's manifest of data/raw differs: SHA-256 {now.raw_manifest}." in text
    assert f"Today's table of accepted images differs: SHA-256 {now.validated_manifest}." in text
    assert f"Today's data/lab differs: SHA-256 of its indices {now.lab}." in text
    assert "The captions are from data/validated as it is now." in text


def test_shards_of_another_snapshot_than_the_recorded_one_are_told(
    project: Project, settings: Settings, judged: str
) -> None:
    write_data(project, number=2)
    register(project, settings)
    _, text = parse(run_page.write_report(project, settings))
    assert f"another snapshot than data.dvc named: MD5 {RAW['md5']}." in text
    assert "Today's" not in text


def test_the_terminal_keeps_to_the_data_of_the_version_too(
    project: Project, settings: Settings, judged: str
) -> None:
    register(project, settings)
    now = write_data(project, number=7)
    shutil.rmtree(project.lab)
    out = run_page.summarize(project, settings)
    assert "9 images accepted (2 test, 5 train, 2 validation)" in out
    assert f"Today's data/raw differs: MD5 in data.dvc {now.raw_md5}." in out
    assert "Today this checkout has no data/lab." in out


def test_the_page_of_a_candidate_without_a_version_is_about_the_checkout(
    project: Project, settings: Settings, judged: str
) -> None:
    for number in (1, 7):
        now = write_data(project, number=number)
        _, text = parse(run_page.write_report(project, settings))
        assert "This page is about a model without a version" in text
        assert f"{8 + number} accepted" in text
        assert all(digest in text for digest in vars(now).values())
        assert dvc.folder_md5(project.candidate) in text
        assert "differs" not in text


def test_a_version_of_which_little_was_recorded_says_so(
    project: Project, settings: Settings, judged: str
) -> None:
    register(project, settings)
    client = connect(project, settings)
    version = Registry(project, settings).version_of(judged)
    assert version is not None
    for name in version.facts.run.to_tags():
        client.delete_model_version_tag("chromaflow", "1", name)
    _, text = parse(run_page.write_report(project, settings))
    assert "This page is about version 1" in text
    assert "What was recorded with version 1:" in text
    assert "not recorded" in text
    assert "9 accepted" not in text
    assert not [digest for digest in vars(data_facts(project)).values() if digest in text]


def test_numbers_that_were_measured_again_are_said_to_be(
    project: Project, settings: Settings, judged: str, write_evaluation: WriteEvaluation
) -> None:
    register(project, settings)
    write_evaluation(judged, gain=0.2)
    _, text = parse(run_page.write_report(project, settings))
    assert "measured again after it was registered" in text


def test_the_curves_of_another_training_are_not_shown(
    project: Project, settings: Settings, judged: str
) -> None:
    _, text = parse(run_page.write_report(project, settings))
    assert "20 steps on 5 images" in text
    assert "Training curves" in text
    training = {"digest": "f" * 64, "steps": 20, "images": {"train": 5}}
    files.write_json(project.training_report / "summary.json", training)
    _, text = parse(run_page.write_report(project, settings))
    assert "20 steps" not in text
    assert "Training curves" not in text


def test_the_page_leads_to_the_other_pages_that_stand(
    project: Project, settings: Settings, judged: str
) -> None:
    assert page_facts.links(project) == []
    files.write_text(project.data_description / "card.html", "")
    assert page_facts.links(project) == [("data/card.html", "Data card")]
    page = run_page.write_report(project, settings).read_text()
    assert '<a href="data/card.html">Data card</a>' in page


def test_what_others_wrote_is_escaped(project: Project, settings: Settings, judged: str) -> None:
    _, text = parse(run_page.write_report(project, settings))
    assert "<b>bold</b>" in text
    assert "CC0 & others" in text
    assert "&lt;b&gt;bold" in project.page.read_text()


def test_an_unregistered_candidate_and_missing_files_are_said(
    project: Project, settings: Settings, judged: str
) -> None:
    (project.training_report / "curves.csv").unlink()
    (project.validated / "validation.json").unlink()
    (project.validated / "manifest.parquet").write_bytes(b"no table")
    (project.evaluation / "per_image.csv").unlink()
    _, text = parse(run_page.write_report(project, settings))
    assert "Not registered yet" in text
    assert "Training curves" not in text


def test_a_registry_that_does_not_answer_leaves_a_page(project: Project, judged: str) -> None:
    settings = Settings.model_validate({"tracking": {"uri": "http://127.0.0.1:9"}})
    _, text = parse(run_page.write_report(project, settings))
    assert "no MLflow server answers at http://127.0.0.1:9" in text
    assert "The version of this model is unknown" in text
    assert "not registered" not in text


def test_a_broken_picture_is_named(project: Project, settings: Settings, judged: str) -> None:
    (project.evaluation / "pictures" / "02-broken.png").write_bytes(b"no picture")
    with pytest.raises(ModelError, match=r"02-broken\.png"):
        run_page.write_report(project, settings)


def test_a_refused_and_a_replaced_candidate(
    project: Project, settings: Settings, judged: str, write_evaluation: WriteEvaluation
) -> None:
    write_evaluation(judged, gain=0.0)
    register(project, settings)
    assert not promote(project, settings).promoted
    _, text = parse(run_page.write_report(project, settings))
    assert "Version 1 was not promoted" in text
    write_evaluation(judged, gain=0.1)
    assert promote(project, settings).promoted
    connect(project, settings).delete_registered_model_alias("chromaflow", "champion")
    _, text = parse(run_page.write_report(project, settings))
    assert "Version 1 is no longer the champion" in text


def test_without_an_evaluation_there_is_no_page(
    project: Project, settings: Settings, write_candidate: WriteCandidate
) -> None:
    write_candidate()
    with pytest.raises(ModelError, match=r"metrics\.json"):
        run_page.write_report(project, settings)


def test_the_summary_names_numbers_decision_and_page(
    project: Project, settings: Settings, judged: str
) -> None:
    out = run_page.summarize(project, settings)
    assert "AuC, rebalanced" in out
    assert "9 images accepted" in out
    assert str(project.page) in out.replace("\n", "")


def test_the_better_of_each_metric_is_marked() -> None:
    metrics = {
        "model": {"psnr": 20.0, "delta_e_2000": 9.0, "colorfulness": 10.0},
        "grey": {"psnr": 21.0, "delta_e_2000": 9.0, "colorfulness": 0.0},
        "mean_color": {"psnr": 19.0, "delta_e_2000": 12.0, "colorfulness": 5.0},
        "truth": {"colorfulness": 40.0},
    }
    rows = {row.metric.label: row for row in page_facts.metric_rows(metrics, "psnr")}
    assert next(iter(rows)) == "PSNR"
    assert rows["PSNR"].best == {"grey"}
    assert rows["ΔE 2000"].best == {"model", "grey"}
    assert rows["Colorfulness"].best == set()
    assert rows["Colorfulness"].cells["truth"] == "40.0"


def test_curves_are_read_by_column(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "train_loss", "validation_loss", "other"])
        writer.writerows([[10, 3.0, "", 1], [20, 2.0, 2.5, 1]])
    assert read_curves(path) == {
        "train_loss": [(10.0, 3.0), (20.0, 2.0)],
        "validation_loss": [(20.0, 2.5)],
    }
    assert read_curves(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    "points", [[(0.0, 1.0)], [(5.0, 2.0), (9.0, 2.0)], [(1.0, 9.0), (2.0, -1.0)]]
)
def test_a_curve_is_whole_svg_within_its_frame(points: list[tuple[float, float]]) -> None:
    drawing = ElementTree.fromstring(str(draw("a < b & c", points)))  # noqa: S314 (our own text)
    assert drawing.get("aria-label", "").startswith("a < b & c: ")
    width, height = (float(n) for n in drawing.get("viewBox", "").split()[2:])
    line = next(part for part in drawing.iter() if part.tag == "polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    assert len(places) == len(points)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
    if points[0][1] > points[-1][1]:
        assert places[0][1] < places[-1][1]
