"""The commands that the documents show, and what makes each of them a matter of seconds."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chromaflow.project.paths import Project
from tests.support.clone import ROOT, SMALL, chromaflow

COLORIZING, SYSTEMS = "docs/colorizing.md", "docs/systems.md"
# Other tests run these: `up` and `down` in tests/services, the sources of docs/data.md in
# tests/data/sources/test_presets.py, the mirror in tests/data/store, decisions about one image in
# tests/cli/test_quarantine.py.
_ELSEWHERE_PAGE = "docs/data.md"
_ELSEWHERE = {"up", "down", "ID", "runtime.mirror=s3://BUCKET/lab"}
OTHERS = [
    page
    for page in ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
    if page not in (COLORIZING, SYSTEMS, _ELSEWHERE_PAGE)
]
"""The pages but for those two."""
# What makes a trial of a recipe short; `sanity` then says that it needs longer, with exit code 1.
_TRIALS = {
    "sanity": ["--minutes=0.02", "--side=64"],
    "find-lr": ["--steps=12"],
    "sweep": ["--trials=1"],
    "compare": ["--budget=1s"],
}


def _commands(pages: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for page in pages:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line)
                if words[:1] == ["chromaflow"] and not _ELSEWHERE.intersection(words):
                    yield tuple(words[1:])


def _with_small_settings(arguments: list[str]) -> list[str]:
    command, learning = arguments[0], [text for text in SMALL if text.startswith("training.")]
    if command in _TRIALS:
        return [*arguments, *_TRIALS[command], *(f"--set={text}" for text in learning)]
    if "--preset" in arguments:
        # The tile is a setting of the sample, which no page names as a preset.
        own = [text for text in SMALL if not text.startswith("source.")]
        small = (*own, "training.steps=2", "split.train=12", "split.validation=0.3")
        return [*arguments, *(f"--set={text}" for text in small)]
    if "--recipe" in arguments:
        return [*arguments, *(f"--set={text}" for text in (*learning, "training.steps=2"))]
    return arguments


def run_commands(project: Project, pages: Sequence[str], examples: Mapping[str, Path]) -> int:
    """Run each command of some pages once, in their order; give how many there were.

    Args:
        project: A clone with a model in `models/candidate`.
        pages: Their paths in the checkout.
        examples: What stands in capitals in the documents, and an example of each.
    """
    in_capitals = re.compile(rf"\b({'|'.join(examples)})\b")
    commands = list(dict.fromkeys(_commands(pages)))
    for words in commands:
        arguments = _with_small_settings(
            [in_capitals.sub(lambda found: str(examples[found[0]]), word) for word in words]
        )
        if words[0] in ("colorize", "export") and "--model" not in words:
            # Two steps of training beat no baseline, so nothing is promoted.
            arguments += ["--model", "models/candidate"]
        done = chromaflow(project, *arguments, check=words[0] != "sanity")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
    return len(commands)
