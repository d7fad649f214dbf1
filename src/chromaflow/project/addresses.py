"""Addresses of servers, as they may be shown."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    pass


def is_server(uri: str) -> bool:
    """Whether the address is a tracking server's rather than a database's."""
    return urlsplit(uri).scheme in ("http", "https")


def public_address(uri: str) -> str:
    """The address without user name and password, for messages and records."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)
