"""What all groups of settings share."""

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings that belong together; unknown keys and wrong types are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), strict=True, allow_inf_nan=False
    )
