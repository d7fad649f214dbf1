import numpy as np
import torch
from torch import nn

from chromaflow.settings import Training
from chromaflow.training.optimizers import build_optimizer


def test_steps_are_those_of_the_paper() -> None:
    # Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, Algorithm 1.
    training = Training.model_validate(
        {"optimizer": "adadelta", "betas": [0.95, 0.999], "weight_decay": 0.0}
    )
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = build_optimizer(training, [weight], 1.0)
    expected = weight.detach().numpy().copy()
    squares, changes = np.zeros(3), np.zeros(3)
    for step in range(5):
        gradient = np.array([0.3, -1.0, 2.0]) * (step + 1) + expected
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        squares = 0.95 * squares + 0.05 * gradient**2
        change = -np.sqrt(changes + 1e-6) / np.sqrt(squares + 1e-6) * gradient
        changes = 0.95 * changes + 0.05 * change**2
        expected += change
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-9)
