"""One table names the steps: its entries, `dvc.yaml`, the modules and the commands agree."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml

from chromaflow import steps
from chromaflow.cli import main
from chromaflow.steps.table import STEPS, Step

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_the_function_of_its_module(step: Step) -> None:
    function = getattr(import_module(f"chromaflow.steps.{step.name}"), step.name)
    signature = inspect.signature(function)
    assert list(signature.parameters)[:2] == ["project", "settings"]
    result = signature.return_annotation
    assert {"to_json", "summary"} <= set(dir(result))
    assert result.__dataclass_params__.frozen


def test_each_module_beside_the_table_is_a_step() -> None:
    modules = {path.stem for path in Path(steps.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "table"} == {step.name for step in STEPS}


def test_the_stages_of_dvc_are_those_of_the_table_in_its_order() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == [step.name for step in STEPS if step.stage]
    assert all(stage["cmd"] == f"chromaflow {name}" for name, stage in stages.items())


def test_each_step_is_a_command() -> None:
    commands = typer.main.get_command(main.app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if name in {step.name for step in STEPS}] == [
        step.name for step in STEPS
    ]
    for step in STEPS:
        command = commands[step.name]
        assert command.help == step.help
        assert any("--recipe" in option.opts for option in command.params) is step.recipe
