"""What `import chromaflow` settles for the libraries that are imported after it."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def settled(code: str, **chosen: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose user chose these variables and no other way to wait."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE", **chosen},
        capture_output=True,
        text=True,
        check=True,
    )


# libgomp tells it when it is loaded; its OMP_WAIT_POLICY reads PASSIVE even where threads spin.
def spins(done: subprocess.CompletedProcess[str]) -> set[str]:
    """How often threads look again before they sleep."""
    return set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr))


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux only")
@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({}, "0"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000"),
        ({"GOMP_SPINCOUNT": "77"}, "77"),
    ],
)
def test_threads_of_torch_sleep_while_they_wait_unless_the_user_wants_another_way(
    chosen: dict[str, str], count: str
) -> None:
    assert spins(settled("import chromaflow, torch", **chosen)) == {count}


@pytest.mark.parametrize("entry", ["chromaflow.cli.main", "flows.retrain", "mlflow.pyfunc"])
def test_no_way_in_loads_torch_before_it_is_settled(entry: str) -> None:
    settled(f"import sys, {entry}; sys.exit('torch' in sys.modules)")
