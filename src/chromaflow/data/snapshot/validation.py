"""What the validation of a snapshot found, as `data/validated/validation.json` holds it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromaflow.errors import DataError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectationResult(_Part):
    """How one expectation ended.

    Args:
        name: Of the rule.
        column: That it is about; empty where it is about a whole table.
        success: Whether every row meets it.
        unexpected: How many rows do not.
    """

    name: str
    column: str
    success: bool
    unexpected: int


class ChromaHistogram(_Part):
    """The distribution of mean chroma over the accepted images.

    Args:
        edges: Lower edges of the bins, CIE Lab units; the last bin is open.
        mean_chroma: Images in each bin.
    """

    edges: list[float]
    mean_chroma: list[int]


class WaiverCounts(_Part):
    """How many decisions of people apply, and how many do not, as the image has other bytes now."""

    held: int
    void: int


class ValidationReport(_Part):
    """The numbers of a validation.

    Args:
        success: Always true: a snapshot that fails as a whole leaves no report.
        rows: Images in the raw manifest.
        accepted: Images that train, validate or test.
        quarantined: Images that a rule refused.
        historic: Photographs never used for training or evaluation.
        unused: Acceptable images that the sizes of the splits leave out.
        reasons: How many images each rule refused; an image may be refused by several.
        splits: Images of each split.
        labels: Images of each label, by split; without a label, the empty text.
        mean_chroma: The colors of the accepted images.
        waivers: Decisions of people; `releases` in the file.
        expectations: How each of them ended.
    """

    model_config = ConfigDict(populate_by_name=True)

    success: bool
    rows: int
    accepted: int
    quarantined: int
    historic: int
    unused: int
    reasons: dict[str, int]
    splits: dict[str, int]
    labels: dict[str, dict[str, int]]
    mean_chroma: ChromaHistogram
    waivers: WaiverCounts = Field(alias="releases")
    expectations: list[ExpectationResult]

    @classmethod
    def read(cls, path: Path) -> "ValidationReport":
        """Read a report.

        Raises:
            DataError: It is missing or broken.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"there is no {path}.", "chromaflow validate") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = ": ".join(filter(None, (place, first["msg"])))
        except OSError as error:
            reason = error.strerror or str(error)
        raise DataError(f"{path} is not a validation report: {reason}.", "chromaflow validate")

    def to_json(self) -> dict[str, Any]:
        """The report as the file holds it."""
        return self.model_dump(by_alias=True)
