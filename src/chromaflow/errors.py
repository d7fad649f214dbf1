"""The errors that a user can mend: each names what is wrong and what mends it."""

# EX_TEMPFAIL of sysexits.h: what failed may pass by itself, so trying again is worth it.
TEMPORARY_FAILURE = 75


class UserError(Exception):
    """A mistake of the user's or a fault of the surroundings, told without a traceback.

    Args:
        problem: What is wrong, naming the file, the setting or the server.
        mend: The next command or change that mends it; empty where the problem says it all.
    """

    exit_code = 2

    def __init__(self, problem: str, mend: str = "") -> None:
        self.problem = problem
        self.mend = mend
        super().__init__(f"{problem}\n  → {mend}" if mend else problem)


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
    """Training that cannot go on, such as a loss that is no longer a number."""

    exit_code = 3


class ChromaflowWarning(UserWarning):
    """Something that does not stop the work and that its user should know."""
