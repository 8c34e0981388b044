"""Which addresses may be called: every class of address, every spelling, every trick of a URL."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.kernel.egress import NotCallable, check_url, refusal_of

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.0", "2606:4700::1111", "2a00::1"]
LOCAL = ["127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::1"]
LOCAL += ["fc00::1", "fd12:3456::1"]
NEVER = {
    "metadata": ["169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"],
    "link local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": ["192.0.0.8", "198.18.0.1", "198.19.255.255", "240.0.0.1", "192.88.99.1", "100::1"],
    "broadcast": ["255.255.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a9fe:a9fe"],
    "translated": ["::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"],
    "compatible": ["::127.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:0a00:0001::1"],
    "teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1"],
    "benchmark and identifiers": ["2001:2::1", "2001:10::1", "2001:20::1"],
    "site local": ["fec0::1"],
    "not assigned": ["4000::1", "5f00::1", "8000::1", "e000::1"],
    "no address": ["", "x", "1.2.3", "0x7f.1", "127.1", "2130706433", "1.2.3.4.5", "::1::", "[::1]"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str) -> None:
    assert refusal_of(address) is None


@pytest.mark.parametrize("address", LOCAL)
def test_a_local_address_may_be_called_in_development_only(address: str) -> None:
    assert refusal_of(address) in ("loopback", "private")
    assert refusal_of(address, private_allowed=True) is None


@pytest.mark.parametrize("address", [one for many in NEVER.values() for one in many])
def test_a_special_address_may_never_be_called(address: str) -> None:
    assert refusal_of(address) is not None
    assert refusal_of(address, private_allowed=True) is not None


@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_may_be_called(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if special or address.is_reserved or address.is_unspecified or not address.is_global:
        assert refusal_of(str(address)) is not None
    mapped = ipaddress.IPv6Address(b"\x00" * 10 + b"\xff\xff" + address.packed[:4])
    assert refusal_of(str(mapped)) is not None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM/a?b=c%20d", "https://example.com/a?b=c%20d"),
        ("https://hooks.example.com:8443/x", "https://hooks.example.com:8443/x"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://münchen.de/ä", "https://xn--mnchen-3ya.de/%C3%A4"),
        ("https://1.1.1.1/x", "https://1.1.1.1/x"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://a_b.example.com./", "https://a_b.example.com./"),
    ],
)
def test_a_public_url_is_taken(text: str, kept: str) -> None:
    assert str(check_url(text)) == kept


@pytest.mark.parametrize(
    "text",
    [
        *(
            "http://example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "gopher://example.com",
            "example.com",
        ),
        *(
            "example.com",
            "",
            "https://",
            "https:///x",
            "//example.com",
            "javascript:alert(1)",
            "https://:443/",
            "https://.",
        ),
        *("https://user@example.com", "https://user:pw@example.com", "https://:pw@a.com"),
        *(
            "https://example.com/#x",
            "https://example.com/ x",
            "https://example.com/\n",
            "https://exa\tmple.com",
        ),
        *("https://example.com\\@127.0.0.1/", "https://example.com/\u200b", "https://example.com/\x7f"),
        *(
            "https://example.com:0",
            "https://example.com:22",
            "https://example.com:25",
            "https://example.com:6667",
        ),
        *("https://example.com:99999", "https://example.com:x", "https://example.com:-1"),
        *(
            "https://localhost",
            "https://x.localhost",
            "https://printer",
            "https://db.internal",
            "https://a.local",
        ),
        *("https://a..example.com", "https://-a.example.com", "https://ex%61mple.com", "https://a b.com"),
        *("https://1.1.1.1%00.example.com", "https://" + "a" * 64 + ".com", "https://" + "a.b" * 90 + ".com"),
        "https://example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_is_not_plain_public_https_is_refused(text: str) -> None:
    with pytest.raises(NotCallable):
        check_url(text)


SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
]
SPELLINGS += ["0177.0.0.1", "017700000001", "0x7F.0x0.0x0.0x1", "00127.0.0.1", "１２７.0.0.1", "127。0。0。1"]
SPELLINGS += [
    "0",
    "0x",
    "256.256.256.256",
    "4294967296",
    "1.2.3.0x",
    "1.2.3.4.5",
    "[::1]",
    "[::ffff:127.0.0.1]",
]
SPELLINGS += [
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1%25eth0]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
]
SPELLINGS += ["[fd00:ec2::254]", "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376"]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_inner_address_is_taken(host: str) -> None:
    with pytest.raises(NotCallable):
        check_url(f"https://{host}/")


def test_a_public_address_in_another_spelling_is_asked_for_in_the_usual_one() -> None:
    with pytest.raises(NotCallable, match=r"Write the address as 1\.1\.1\.1"):
        check_url("https://0x01010101/")


def test_development_takes_http_and_local_hosts_but_no_metadata() -> None:
    for text in ("http://localhost:3000/x", "http://127.0.0.1:8000", "https://10.0.0.1", "http://web"):
        assert str(check_url(text, private_allowed=True)) == text
    for text in ("http://169.254.169.254/latest", "http://0.0.0.0", "http://0x7f.1", "http://a@localhost"):
        with pytest.raises(NotCallable):
            check_url(text, private_allowed=True)


@given(st.text(max_size=60))
def test_no_text_makes_the_check_fail_otherwise(text: str) -> None:
    for tried in (text, f"https://{text}"):
        try:
            url = check_url(tried)
        except NotCallable:
            continue
        assert url.scheme == "https"
        assert url.raw_host
