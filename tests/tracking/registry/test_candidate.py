import pytest

from chromaflow.errors import ModelError
from chromaflow.project import files
from chromaflow.project.paths import Project
from chromaflow.tracking.registry.candidate import candidate_digest, read_metrics
from tests.support.tracking import WriteCandidate, WriteEvaluation


def test_the_digest_is_that_of_the_model_folder(
    project: Project, write_candidate: WriteCandidate
) -> None:
    first = write_candidate(seed=0)
    assert candidate_digest(project) == first == files.digest_of_folder(project.candidate)
    assert candidate_digest(project) != write_candidate(seed=1)


def test_no_candidate_names_what_makes_one(project: Project) -> None:
    with pytest.raises(ModelError, match="holds no trained model") as raised:
        candidate_digest(project)
    assert raised.value.remedy == "chromaflow retrain"


def test_the_evaluation_of_the_candidate_is_read(
    project: Project, candidate: str, write_evaluation: WriteEvaluation
) -> None:
    assert read_metrics(project, candidate)["model"]["auc_rebalanced"] == 0.6
    write_evaluation(candidate, gain=0.2)
    assert read_metrics(project, candidate)["model"]["auc_rebalanced"] == 0.7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "is missing"),
        ("{", "is not the JSON"),
        ('{"digest": "ffff"}', "is about other weights"),
    ],
)
def test_an_evaluation_that_is_not_the_candidates_is_refused(
    project: Project, text: str | None, problem: str
) -> None:
    if text is not None:
        files.write_text(project.evaluation / "metrics.json", text)
    with pytest.raises(ModelError, match=rf"metrics\.json {problem}") as raised:
        read_metrics(project, "0" * 64)
    assert raised.value.remedy == "dvc repro evaluate"
