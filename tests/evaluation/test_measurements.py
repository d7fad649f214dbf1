"""The table of the evaluation: what is read is what was measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chromaflow.errors import ModelError
from chromaflow.evaluation.baselines import constant
from chromaflow.evaluation.bootstrap import compare
from chromaflow.evaluation.measure import measure
from chromaflow.evaluation.measurements import Measurements, read_table, write_table


@pytest.fixture
def measured(split: dict[str, np.ndarray]) -> dict[str, Measurements]:
    systems = {"model": lambda lightness: torch.cat((lightness, -lightness), 1) / 7}
    found = measure({**systems, "mean_color": constant(3, 9)}, Path("data/lab/test"), 64)
    del found["truth"]
    return found


def test_what_is_read_is_what_was_measured(
    measured: dict[str, Measurements], tmp_path: Path
) -> None:
    write_table(tmp_path / "per_image.csv", measured)
    again = read_table(tmp_path / "per_image.csv")
    assert list(again) == ["model", "mean_color"]
    for system, own in measured.items():
        assert again[system].ids == own.ids
        assert again[system].values.keys() == own.values.keys()
        for metric, values in own.values.items():
            assert np.array_equal(again[system].values[metric], values), metric
        assert np.array_equal(again[system].weights, own.weights)


def test_a_system_gains_nothing_over_itself_in_the_table(
    measured: dict[str, Measurements], tmp_path: Path
) -> None:
    write_table(tmp_path / "per_image.csv", measured)
    again = read_table(tmp_path / "per_image.csv")["model"]
    for metric in ("auc_rebalanced", "delta_e_2000"):
        gain = compare(again, measured["model"], metric, resamples=100)
        assert (gain.mean, gain.low, gain.high, gain.share) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "id,system,auc,weight\ncat,model,much,1\n",
        "id,system,auc,weight\ncat,model,1\n",
        "id,auc,weight\ncat,1,1\n",
        "id,system,auc\ncat,model,1\n",
        b"\xff\xfe",
    ],
)
def test_what_is_not_the_table_is_refused(tmp_path: Path, text: str | bytes | None) -> None:
    path = tmp_path / "per_image.csv"
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ModelError, match=r"per_image\.csv is not the table") as raised:
        read_table(path)
    assert raised.value.remedy == "dvc repro evaluate"
