"""The errors that a user can fix: each names what is wrong and what fixes it."""

import errno
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, TextIO

# EX_TEMPFAIL of sysexits.h: what failed may pass by itself, so trying again is worth it.
TEMPORARY_FAILURE = 75


class UserError(Exception):
    """A user's mistake or a fault of the environment, reported without a traceback.

    Args:
        problem: What is wrong, naming the file, the setting or the server.
        remedy: The next command or change that fixes it; empty where the problem says it all.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  → {remedy}" if remedy else problem)


class SettingsError(UserError):
    """A setting that is unknown, of a wrong type or unit, or out of its range."""


class DataError(UserError):
    """Images, archives or tables that are missing, broken or not acceptable."""


class ModelError(UserError):
    """A model folder, recipe or registry entry that cannot be used."""


class ServerError(UserError):
    """A server that does not answer, or a lock that another process holds."""

    exit_code = TEMPORARY_FAILURE


class TrainingStoppedError(UserError):
    """Training that cannot continue, such as a loss that is no longer a number."""

    exit_code = 3


class TrainingInterruptedError(UserError):
    """Training that a signal asked to stop; the same command resumes from its checkpoint."""

    exit_code = 3


class ChromaflowWarning(UserWarning):
    """Something that does not stop the work and that its user should know."""


def run_cli(function: Callable[[], None]) -> None:
    """Run a program; what its user can fix is reported in a sentence, never as a traceback.

    Args:
        function: The program. It ends the process where it raises `UserError`, an error of the disk
            or of permissions, or is interrupted.
    """
    warnings.showwarning = _show_warning
    try:
        function()
    except UserError as error:
        _exit(str(error), error.exit_code)
    except OSError as error:
        where = error.filename or "a file"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            _exit(
                f"the disk is full while writing {where}.\n  → free some space and run it again", 2
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            _exit(f"no permission for {where}.\n  → chmod it, or run as its owner", 2)
        raise
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        sys.exit(130)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = f"warning: {message}\n"
    if not issubclass(category, ChromaflowWarning):
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def _exit(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(code)
