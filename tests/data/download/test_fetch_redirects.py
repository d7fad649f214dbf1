"""Redirects: followed where they may lead, and never into a network that is not theirs."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from chromaflow.data.download import addresses
from tests.support.downloads import SMALL, one
from tests.support.http_server import Server


def test_redirects_are_followed_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.put("/a.png", SMALL)
    for number in range(5):
        server.put(f"/{number}", location=f"/{number + 1}" if number < 4 else "/a.png")
    assert one(tmp_path, server.url("/0"))[0] == "fetched"
    server.put("/more", location="/0")
    assert one(tmp_path, server.url("/more"), "b.png") == ("failed", "redirected more than 5 times")
    assert one(tmp_path, server.put("/loop", location="/loop"), "c.png")[0] == "failed"
    assert server.counts["/loop"] == 6


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/a.png", "http://[bad", "javascript:1"]
)
def test_redirects_to_other_kinds_are_refused(server: Server, tmp_path: Path, place: str) -> None:
    state, reason = one(tmp_path, server.put("/a", location=place))
    assert state == "failed"
    assert "redirected to" in reason or "is invalid" in reason


Names = dict[str, list[list[str]]]
"""What each name resolves to, one answer after the other."""

AddrInfo = tuple[int, int, int, str, tuple[str, int]]
"""An address as `socket.getaddrinfo` gives it."""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names and what they resolve to, one answer after the other; the last one stays.

    The addresses of the test network 192.0.2.0/24 count as open, of 10.0.0.0/8 as private; all of
    them lead to this machine.
    """
    told: Names = {}

    async def resolve(
        _: object, host: str, port: int = 0, family: int = 0
    ) -> list[dict[str, str | int]]:
        answers = told[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        more: dict[str, str | int] = {"hostname": host, "port": port, "proto": 0, "flags": 0}
        return [{"host": ip, "family": socket.AF_INET, **more} for ip in found]

    async def start_connection(addr_infos: list[AddrInfo], **_: object) -> socket.socket:
        place = addr_infos[0][4]
        made = socket.socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", place[1]))
        return made

    original = addresses.network
    monkeypatch.setattr(
        addresses, "network", lambda ip: "open" if ip.startswith("192.0.2.") else original(ip)
    )
    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", start_connection)
    return told


OPEN, LAN, LOCAL, METADATA = ["192.0.2.1"], ["10.0.0.1"], ["127.0.0.1"], ["169.254.169.254"]


@pytest.mark.parametrize(
    ("first", "second", "followed"),
    [
        (OPEN, ["192.0.2.2"], True),
        (LAN, OPEN, True),
        (LAN, ["10.0.0.2"], True),
        (LOCAL, OPEN, True),
        (LOCAL, LOCAL, True),
        (OPEN, LAN, False),
        (OPEN, LOCAL, False),
        (OPEN, METADATA, False),
        (OPEN, OPEN + LOCAL, False),
        (OPEN + LOCAL, LOCAL, False),
        (LAN, LOCAL, False),
        (LAN, METADATA, False),
        (LAN, ["0.0.0.0"], False),  # noqa: S104
        (LOCAL, LAN, False),
    ],
)
@pytest.mark.parametrize("literal", [True, False])
def test_redirects_stay_in_the_open_or_at_home(
    server: Server, tmp_path: Path, names: Names, first: list[str], second: list[str],
    followed: bool, literal: bool,
) -> None:  # fmt: skip
    names |= {"first.example": [first], "second.example": [second]}
    names |= {ip: [[ip]] for ip in second}
    target = second[-1] if literal and second != LOCAL else "second.example"
    server.put("/a.png", SMALL)
    server.put("/first", location=f"http://{target}:{server.port}/a.png")
    expected = ("fetched", "") if followed else ("failed", "redirected to a private network")
    assert one(tmp_path, f"http://first.example:{server.port}/first") == expected
    assert server.counts["/a.png"] == followed


def test_the_open_network_is_no_way_around(server: Server, tmp_path: Path, names: Names) -> None:
    names |= {"first.example": [LAN], "second.example": [OPEN], "third.example": [LAN]}
    server.put("/a.png", SMALL)
    server.put("/second", location=f"http://third.example:{server.port}/a.png")
    server.put("/first", location=f"http://second.example:{server.port}/second")
    state, reason = one(tmp_path, f"http://first.example:{server.port}/first")
    assert (state, reason) == ("failed", "redirected to a private network")
    assert (server.counts["/second"], server.counts["/a.png"]) == (1, 0)


def test_a_name_that_changes_its_network_gains_nothing(
    server: Server, tmp_path: Path, names: Names
) -> None:
    names["evil.example"] = [OPEN, LOCAL]
    server.put("/a.png", SMALL)
    server.put("/first", location=f"http://evil.example:{server.port}/a.png")
    state, reason = one(tmp_path, f"http://evil.example:{server.port}/first")
    assert (state, reason) == ("failed", "redirected to a private network")
    assert server.counts["/a.png"] == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1"])
def test_every_spelling_of_this_machine_is_refused(
    server: Server, tmp_path: Path, names: Names, host: str
) -> None:
    names |= {"first.example": [OPEN], "0x7f.1": [LOCAL]}
    server.put("/a.png", SMALL)
    server.put("/first", location=f"http://{host}:{server.port}/a.png")
    assert one(tmp_path, f"http://first.example:{server.port}/first")[0] == "failed"
    assert server.counts["/a.png"] == 0
