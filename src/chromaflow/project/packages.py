"""Which optional packages are installed, checked without importing them."""

import importlib.util

from chromaflow.errors import UserError

_EXTRAS = {"dvc": "workflow", "mlflow": "tracking", "prefect": "workflow"}


def is_installed(name: str) -> bool:
    """Whether a package can be imported here."""
    spec = importlib.util.find_spec(name)
    # A folder of the checkout, such as mlflow/, counts as a package without an origin.
    return spec is not None and spec.origin is not None


def require_package(name: str) -> None:
    """Make sure that a package is installed.

    Args:
        name: "dvc", "mlflow" or "prefect".

    Raises:
        UserError: It is not, with the command that installs it.
    """
    if not is_installed(name):
        raise UserError(
            f"the package {name} is not installed here.",
            f"make setup, or pip install 'chromaflow[{_EXTRAS[name]}]'",
        )
