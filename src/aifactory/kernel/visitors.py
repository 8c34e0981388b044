"""Where a request came from, seen through trusted proxies only. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import msgspec

UNKNOWN = "unknown"

_MOST_HOPS = 32
_ONE_HOUSEHOLD = 64  # the prefix of IPv6 that one customer usually has


class Networks:
    """A set of addresses, written as a list like ``10.0.0.0/8, ::1``. Raises ValueError for another text."""

    def __init__(self, text: str = "") -> None:
        parts = [part.strip() for part in text.split(",")]
        self._text = ", ".join(filter(None, parts))
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(part, strict=False) for part in parts if part
        )

    def __contains__(self, address: str) -> bool:
        """Tell whether an address is in one of the networks."""
        try:
            return any(ip_address(address) in network for network in self._networks)
        except ValueError:
            return False

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: an address in canonical form, whether by https, and the host (with a port) asked for."""

    address: str
    secure: bool
    host: str

    @property
    def network(self) -> str:
        """What attempts are counted for: the address, for IPv6 its /64, since one person has all of that."""
        if ":" not in self.address:
            return self.address
        return str(ip_network(f"{self.address}/{_ONE_HOUSEHOLD}", strict=False))


class Proxies(msgspec.Struct, frozen=True, kw_only=True):
    """Whose ``X-Forwarded-*`` headers are believed; ``always_https``: visitors come by https in any case."""

    trusted: Networks = msgspec.field(default_factory=Networks)
    always_https: bool = False

    def visitor(self, scope: Any) -> Visitor:
        """Return the visitor of an ASGI scope; without a trusted proxy it is the other end of the wire."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        peer = _canonical((scope.get("client") or ("", 0))[0])
        secure, host = scope.get("scheme") == "https", _last(headers, b"host")
        address = UNKNOWN if peer is None else peer
        if peer is not None and peer in self.trusted:
            address = self._nearest_stranger(peer, _hops(headers))
            proto = _last(headers, b"x-forwarded-proto")
            secure = proto.lower() == "https" if proto else secure
            host = _last(headers, b"x-forwarded-host") or host
        return Visitor(address=address, secure=secure or self.always_https, host=host.lower())

    def _nearest_stranger(self, peer: str, hops: Iterable[str]) -> str:
        """Walk back through the proxies; what a stranger wrote about himself is not looked at."""
        address = peer
        for hop in hops:
            found = _canonical(hop)
            if found is None:
                return address
            address = found
            if address not in self.trusted:
                break
        return address


def _hops(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """List the addresses of ``X-Forwarded-For``, the nearest first."""
    texts = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in ",".join(texts).rsplit(",", _MOST_HOPS)]
    return hops[::-1][:_MOST_HOPS]


def _last(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the last value of a header, of a list its last part; empty if there is none."""
    found = [value for key, value in headers if key == name]
    return found[-1].decode("latin-1").rpartition(",")[2].strip() if found else ""


def _canonical(text: str) -> str | None:
    """Return an address without port, brackets and zone, IPv4 as such when mapped; None for no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
