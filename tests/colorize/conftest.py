"""Predictors with a plain model."""

import pytest

from chromaflow.colorize.predictor import Predictor
from tests.support.models import TintModel, predictor_of


@pytest.fixture
def tint() -> Predictor:
    return predictor_of(TintModel())


@pytest.fixture
def colorless() -> Predictor:
    return predictor_of(TintModel(0.0))
