"""Types of settings: numbers with a unit, shares, ports and addresses."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration(value: object) -> object:
    """Seconds of a text such as `30s`, `5min` or `1h`; ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("a duration needs a unit, such as '30s', '5min' or '1h'")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None:
        raise ValueError(f"'{value}' is not a duration; write it like '30s', '5min' or '1h'")
    number, unit = match.groups()
    if unit not in _SECONDS:
        raise ValueError(f"unknown unit of time '{unit}'; the units are s, min and h")
    return float(number) * _SECONDS[unit]


def parse_size(value: object) -> object:
    """Bytes, above zero, of a text such as `64MiB`; ValueError for anything else."""
    if not isinstance(value, str) or value.strip().isdigit():
        raise ValueError("a size needs a unit, such as '64MiB' or '500kB'")
    try:
        size = ByteSize._validate(value, None)  # type: ignore[arg-type]
    except Exception as error:
        raise ValueError(
            f"'{value}' is not a size; write it like '64MiB' or '500kB' (kB, MB, GB, KiB, MiB, GiB)"
        ) from error
    if not size:
        raise ValueError("a size must be above zero")
    # An integer of its own kind is refused where an integer is asked for.
    return int(size)


Seconds = Annotated[float, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_size)]
Share = Annotated[float, Field(ge=0, lt=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _parse_part(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, float) or whole) or (isinstance(value, float) and not value < 1):
        raise ValueError("a split's size is a count such as 500 or a share such as 0.1, below 1")
    return value


Part = Annotated[int | float, BeforeValidator(_parse_part), Field(ge=0)]


def _parse_server(value: object) -> object:
    if isinstance(value, str) and value:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a server begins with http:// or https://")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "give the address without password or key; a key goes into OPENLINEAGE_API_KEY"
            )
    return value


Server = Annotated[str, BeforeValidator(_parse_server)]
