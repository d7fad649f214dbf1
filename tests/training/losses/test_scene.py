from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chromaflow.models.networks.base import Outputs
from chromaflow.training.losses import Step
from chromaflow.training.losses.scene import scene

MakeStep = Callable[..., Step]


@pytest.fixture
def step(make_step: MakeStep) -> Step:
    logits = torch.zeros(3, 2, 4, 4, requires_grad=True)
    return make_step(logits, torch.zeros(3, 2, 8, 8))


def told(step: Step, scores: Tensor | None, scenes: list[int] | None) -> Step:
    extras = {} if scores is None else {"scene": scores}
    labels = None if scenes is None else torch.tensor(scenes)
    return replace(step, outputs=Outputs(step.logits, None, extras), scenes=labels)


def test_cross_entropy_of_what_is_labeled(step: Step) -> None:
    scores = torch.randn(3, 5, generator=torch.manual_seed(0), requires_grad=True)
    loss = scene(told(step, scores, [4, -1, 0]))
    shares = scores.detach().double().exp()
    shares = shares / shares.sum(dim=1, keepdim=True)
    expected = -(shares[0, 4].log() + shares[2, 0].log()) / 2
    torch.testing.assert_close(loss.double(), expected)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad[[0, 2]].abs().min() > 0
    assert not scores.grad[1].any()


def test_half_precision_is_computed_in_full(step: Step) -> None:
    scores = torch.tensor([[3.0, -1.0], [0.5, 0.25], [1.0, 2.0]])
    expected = scene(told(step, scores, [0, 1, 1]))
    found = scene(told(step, scores.bfloat16(), [0, 1, 1]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_nothing_is_lost_where_there_is_nothing_to_tell(step: Step) -> None:
    scores = torch.randn(3, 5, requires_grad=True)
    nothing = scene(told(step, scores, [-1, -1, -1]))
    assert nothing.item() == 0
    nothing.backward()
    assert scores.grad is not None
    assert not scores.grad.any()
    assert scene(told(step, None, [0, 1, 2])).item() == 0
    assert scene(told(step, scores, None)).item() == 0
