"""Addresses of files: which are allowed, how they are shown, through which mirror and proxy.

Servers' redirects are not trusted: one never leads from the open network into a private one, from
one private network into another kind, nor from https to http.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from chromaflow.data.download.report import RefusedError
from chromaflow.errors import SettingsError

HTTP = frozenset({"http", "https"})
STORES = frozenset({"s3", "gs", "file"})
Network = Literal["open", "private", "link-local", "loopback"]
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64, RFC 6052


def shown(address: str) -> str:
    """An address as it may be printed: without user, password, query and control characters."""
    try:
        parts = urlsplit(address)
        place = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an invalid address"
    query = "?…" if parts.query else ""
    return re.sub(r"[^\x20-\x7e]", "?", f"{parts.scheme}://{place}{parts.path}") + query


def check_mirrors(mirrors: Mapping[str, str]) -> None:
    """Refuse mirrors whose addresses hold a password.

    Raises:
        SettingsError: One does; settings are recorded and shown.
    """
    if any("@" in urlsplit(place).netloc for place in mirrors.values()):
        raise SettingsError(
            "download.mirrors holds a user or a password; settings are recorded and shown.",
            "take it out; s3:// and gs:// read their credentials from their own files",
        )


def mirrored(address: str, mirrors: Mapping[str, str]) -> str:
    """The address behind a mirror: the longest prefix that a mirror is set for is replaced."""
    prefix = max((key for key in mirrors if address.startswith(key)), key=len, default="")
    return mirrors[prefix] + address.removeprefix(prefix) if prefix else address


def check_address(address: str) -> None:
    """Refuse what is not the address of a file.

    Raises:
        RefusedError: The scheme is not http, https, s3, gs or file, or there is no host.
    """
    try:
        parts = urlsplit(address)
        place = bool(parts.hostname) or (parts.scheme == "file" and bool(parts.path))
        _ = parts.port  # raises for a port that is not a number
    except ValueError:
        raise RefusedError("the address is invalid") from None
    if parts.scheme not in HTTP | STORES:
        raise RefusedError(f"addresses with the scheme {parts.scheme[:10]!r} are not fetched")
    if not place:
        raise RefusedError("the address has no host")


def host_of(address: str) -> str:
    """What requests are counted by: scheme, host and port, or the bucket."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def network(ip: str) -> Network:
    """The kind of network that an IP address lies in.

    Raises:
        ValueError: It is not an IP address, but a name for instance.
    """
    address = ipaddress.ip_address(ip.strip("[]").partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return network(str(inner))
    if address.is_loopback or address.is_unspecified:  # 0.0.0.0 leads to this machine, too
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return "open" if address.is_global and not address.is_multicast else "private"


def check_redirect(old: str, new: str) -> None:
    """Refuse a redirect that changes to another kind of address or gives encryption up.

    Raises:
        RefusedError: It does.
    """
    before, after = urlsplit(old).scheme, urlsplit(new).scheme
    if after not in HTTP:
        raise RefusedError(f"redirected to an address with the scheme {after[:10]!r}")
    if before == "https" and after == "http":
        raise RefusedError("redirected from https to http")


class Proxies:
    """Which proxy a request goes through: the setting, or HTTP_PROXY, HTTPS_PROXY and NO_PROXY.

    Args:
        setting: `download.proxy`; empty asks the environment.

    Raises:
        SettingsError: The setting holds a password, which would be written where settings are
            recorded; or a proxy is of a kind that is not supported.
    """

    def __init__(self, setting: str) -> None:
        if setting:
            if "@" in setting:
                raise SettingsError(
                    "download.proxy holds a user or a password; settings are recorded and shown.",
                    "export HTTPS_PROXY and HTTP_PROXY, and leave download.proxy empty",
                )
            found = dict.fromkeys(HTTP, setting)
        else:
            found = getproxies()
        everything = found.get("all", "")
        self._by_scheme = {
            scheme: self._check(found.get(scheme, everything), scheme) for scheme in HTTP
        }
        self._bypassed: dict[str, bool] = {}

    @staticmethod
    def _check(proxy: str, scheme: str) -> str:
        proxy = proxy if "://" in proxy or not proxy else f"http://{proxy}"
        if proxy and urlsplit(proxy).scheme not in HTTP:
            raise SettingsError(
                f"the proxy for {scheme}, {shown(proxy)}, is of a kind that is not supported.",
                "download.proxy or HTTPS_PROXY: http://HOST:PORT",
            )
        return proxy

    def of(self, scheme: str, host: str) -> str | None:
        """Address of the proxy for a host, with credentials where the environment holds them."""
        proxy = self._by_scheme.get(scheme)
        if not proxy:
            return None
        if host not in self._bypassed:
            self._bypassed[host] = bool(proxy_bypass(host))
        return None if self._bypassed[host] else proxy
