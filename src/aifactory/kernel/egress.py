"""Which addresses this server may call for others: public ones only, judged by number, never by name.

Pure. What is connected to is judged again by ``egress_connection``, because a name may lead anywhere.
"""

import ipaddress
import re
import socket

from yarl import URL

LONGEST_URL = 2000

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(**texts: str) -> tuple[tuple[str, _IPNetwork], ...]:
    return tuple(
        (name.replace("_", " "), ipaddress.ip_network(text))
        for name, listed in texts.items()
        for text in listed.split()
    )


# Never, not even in development: nobody's webhook lives there, but the keys of a cloud machine do.
_NEVER = _networks(
    cloud_metadata="169.254.169.254/32 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32 fd00:ec2::254/128",
    link_local="169.254.0.0/16 fe80::/10",
    unspecified="0.0.0.0/8 ::/128",
    multicast="224.0.0.0/4 ff00::/8",
    broadcast="255.255.255.255/32",
)
# Open in development.
_LOCAL = _networks(
    loopback="127.0.0.0/8 ::1/128",
    private="10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
)
# IPv6 forms that carry an IPv4 address inside lead to it by a detour: refused whatever they carry.
_SPECIAL = _networks(
    shared="100.64.0.0/10",
    reserved="192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4 100::/64 2001::/23",
    documentation="192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    IPv4_within_IPv6="::ffff:0:0/96 ::ffff:0:0:0/96 ::/96 64:ff9b::/96 64:ff9b:1::/48 2002::/16 2001::/32",
    site_local="fec0::/10",
)
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")

# Ports that browsers refuse too: other protocols could be made to act on what we send.
_OTHER_PROTOCOLS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679}
    | {6697, 10080}
)
_WEB_PORTS = frozenset({80, 443})
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa")


class NotCallable(ValueError):
    """A URL or an address that this server does not call; the text says why."""


def refusal_of(address: str, *, private_allowed: bool = False) -> str | None:
    """Return why a numeric address may not be called, or None if it may.

    ``private_allowed`` opens loopback and private networks, for development.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no address"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
        return "link local"
    if (kind := _kind_in(_NEVER, parsed)) is not None:
        return kind
    if (kind := _kind_in(_LOCAL, parsed)) is not None:
        return None if private_allowed else kind
    if (kind := _kind_in(_SPECIAL, parsed)) is not None:
        return kind
    if parsed.version == 6 and parsed not in _GLOBAL_IPV6:
        return "reserved"
    return None if parsed.is_global else "not public"


def _kind_in(networks: tuple[tuple[str, _IPNetwork], ...], address: _IPAddress) -> str | None:
    return next((name for name, network in networks if address in network), None)


def check_url(text: str, *, private_allowed: bool = False) -> URL:
    """Return a URL that may be called, as far as its text tells. Raises NotCallable.

    https only, and http where ``private_allowed``; a name's address is judged when it is connected to.
    """
    if len(text) > LONGEST_URL:
        raise NotCallable(f"The URL may have {LONGEST_URL} characters.")
    if any(character.isspace() or not character.isprintable() for character in text) or "\\" in text:
        raise NotCallable("The URL has a space, a backslash or a control character.")
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise NotCallable("The URL can't be read.") from error
    schemes = ("https", "http") if private_allowed else ("https",)
    if url.scheme not in schemes or not url.raw_host:
        raise NotCallable(f"The URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}.")
    if "@" in url.raw_authority:
        raise NotCallable("The URL must hold no user and no password.")
    if url.raw_fragment:
        raise NotCallable("The URL must have no fragment (#…).")
    if port is None or not (port in _WEB_PORTS or 1024 <= port <= 65535) or port in _OTHER_PROTOCOLS:
        raise NotCallable("The port must be 443, 80, or one from 1024 that no other protocol uses.")
    _check_host(url.raw_host.lower(), private_allowed)
    return url


def _check_host(host: str, private_allowed: bool) -> None:
    address = _read_address(host)
    if address is not None:
        if (kind := refusal_of(address, private_allowed=private_allowed)) is not None:
            raise NotCallable(f"The address {address} can't be called: {kind}.")
        return
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise NotCallable("The host is neither a name nor an address.")
    name = host.rstrip(".")
    if not private_allowed and ("." not in name or name.endswith(tuple(f".{end}" for end in _LOCAL_NAMES))):
        raise NotCallable("The host must be a public name.")


def _read_address(host: str) -> str | None:
    """Return the address that a host is, in its usual form. Raises NotCallable for an unusual spelling."""
    if ":" in host:
        return host
    try:
        packed = socket.inet_aton(host.rstrip("."))  # takes whatever the system's resolver takes
    except OSError:
        if re.fullmatch(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", host):
            raise NotCallable("The host is neither a name nor an address.") from None
        return None
    address = socket.inet_ntoa(packed)
    if address != host:
        raise NotCallable(f"Write the address as {address}.")
    return address
