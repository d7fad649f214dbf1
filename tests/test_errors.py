import errno
import warnings
from collections.abc import Callable

import pytest

from chromaflow.errors import ChromaflowWarning, DataError, ServerError, run_cli


def fails_with(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            DataError("photo.jpg is broken.", "remove it"),
            2,
            "error: photo.jpg is broken.\n  → remove",
        ),
        (ServerError("no server answers."), 75, "error: no server answers."),
        (OSError(errno.ENOSPC, "full", "shard.tar"), 2, "the disk is full while writing shard.tar"),
        (OSError(errno.EFBIG, "large"), 2, "the disk is full while writing a file"),
        (PermissionError(errno.EACCES, "denied", "data"), 2, "no permission for data"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
    ],
)
def test_what_a_user_can_fix_is_told_without_a_traceback(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(fails_with(error))
    assert ended.value.code == code
    assert told in capsys.readouterr().err


def test_a_defect_keeps_its_traceback() -> None:
    for error in (ValueError("a defect"), OSError(errno.EIO, "broken disk")):
        with pytest.raises(type(error)):
            run_cli(fails_with(error))


def test_a_warning_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def warn() -> None:
        warnings.warn("the record has a gap", ChromaflowWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run_cli(warn)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "warning: the record has a gap"
    assert "test_errors.py" in rest[0]
