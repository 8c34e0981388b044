"""Who a visitor is, with proxies that are trusted and headers that are not."""

import pytest

from aifactory.kernel.visitors import UNKNOWN, Networks, Proxies, Visitor


def see(peer: str | None, trusted: str = "", scheme: str = "http", **headers: str) -> Visitor:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    client = None if peer is None else (peer, 1)
    scope = {"client": client, "scheme": scheme, "headers": sent}
    return Proxies(trusted=Networks(trusted)).visitor(scope)


def test_without_a_trusted_proxy_headers_say_nothing() -> None:
    seen = see(
        "9.9.9.9",
        "10.0.0.0/8",
        host="Ours:80",
        x_forwarded_for="1.2.3.4",
        x_forwarded_proto="https",
        x_forwarded_host="evil",
    )
    assert (seen.address, seen.secure, seen.host) == ("9.9.9.9", False, "ours:80")
    assert see("127.0.0.1", x_forwarded_for="1.2.3.4").address == "127.0.0.1"


def test_a_trusted_proxy_is_believed_and_only_for_what_it_added_itself() -> None:
    seen = see(
        "10.0.0.1",
        "10.0.0.0/8",
        host="inside",
        x_forwarded_for="6.6.6.6, 1.2.3.4, 10.0.0.9",
        x_forwarded_proto="http, https",
        x_forwarded_host="factory.example",
    )
    assert (seen.address, seen.secure, seen.host) == ("1.2.3.4", True, "factory.example")
    assert see("10.0.0.1", "10.0.0.0/8", scheme="https", x_forwarded_proto="http").secure is False


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("1.2.3.4:567", "1.2.3.4"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("5.5.5.5, junk", "10.0.0.1"),
        ("5.5.5.5, junk, 10.0.0.2", "10.0.0.2"),
        (", ".join(["10.0.0.3"] * 5000), "10.0.0.3"),
        ("é", "10.0.0.1"),
    ],
)
def test_what_a_proxy_passes_on_is_read_carefully(forwarded: str, address: str) -> None:
    assert see("10.0.0.1", "10.0.0.0/8", x_forwarded_for=forwarded).address == address


def test_one_household_of_ipv6_is_one_visitor_and_a_mapped_ipv4_is_itself() -> None:
    assert see("2001:db8::1").network == see("2001:db8::2").network == "2001:db8::/64"
    assert see("2001:db8:0:1::1").network != see("2001:db8::1").network
    assert see("::ffff:9.9.9.9").network == see("9.9.9.9").network == "9.9.9.9"
    assert see("testclient").network == see(None).network == UNKNOWN


def test_https_can_be_declared() -> None:
    scope = {"client": ("9.9.9.9", 1), "scheme": "http", "headers": []}
    assert Proxies(always_https=True).visitor(scope).secure


def test_networks_are_read_and_written() -> None:
    networks = Networks(" 10.0.0.0/8,::1 ,")
    assert str(networks) == "10.0.0.0/8, ::1"
    assert networks == Networks("10.0.0.0/8, ::1")
    assert ["10.1.2.3" in networks, "::1" in networks, "11.0.0.1" in networks, "x" in networks] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ValueError, match="proxy"):
        Networks("proxy")
