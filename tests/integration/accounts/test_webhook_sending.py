"""Sending one webhook: to whom it never goes, and receivers that hang, flood, redirect or lie."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from tests.webhook_receiver import Received, Writer, answering, hang, receiving

from aifactory.accounts import webhook_sending
from aifactory.accounts.webhook_rules import EXCERPT_LENGTH, Attempt
from aifactory.accounts.webhook_sending import WebhookSender
from aifactory.kernel import egress_connection
from aifactory.kernel.egress_connection import AddressRefused, PublicResolver, public_connector

pytestmark = pytest.mark.anyio

OURS = WebhookSender(private_allowed=True)


def found(*addresses: str) -> Any:
    """Return a look-up that always answers with these addresses."""

    def lookup(_: str, port: int) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    return lookup


async def post(sender: WebhookSender, url: str) -> Attempt:
    return await sender.post(url, headers={"webhook-id": "dlv_1"}, body='{"type":"ä"}')


async def test_a_message_is_one_post_of_exactly_the_body() -> None:
    async with receiving(answering(204)) as receiver:
        attempt = await post(OURS, receiver.url)
    assert (attempt.status, attempt.error, attempt.succeeded) == (204, None, True)
    (message,) = receiver.messages
    assert (message.method, message.target) == ("POST", "/hook?x=1")
    assert message.body == '{"type":"ä"}'.encode()
    assert message.headers["content-type"] == "application/json"
    assert message.headers["webhook-id"] == "dlv_1"
    assert message.headers["user-agent"].startswith("AI-Factory-Webhooks/")
    assert message.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [199, 300, 400, 404, 410, 429, 500, 503])
async def test_any_other_status_is_a_failure_with_its_answer(status: int) -> None:
    async with receiving(answering(status, b"no\x00pe \xff", Retry_After="7")) as receiver:
        attempt = await post(WebhookSender(private_allowed=True, patience_seconds=1), receiver.url)
    assert not attempt.succeeded
    if status != 199:  # interim: no answer came
        assert (attempt.status, attempt.retry_after, attempt.excerpt) == (status, "7", "no\ufffdpe \ufffd")


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with receiving(answering(200)) as inner:
        for status in (301, 302, 303, 307, 308):
            async with receiving(answering(status, Location=inner.url)) as receiver:
                attempt = await post(OURS, receiver.url)
            assert attempt.error == f"answered {status}: redirects are not followed"
    assert inner.connections == 0


# To whom it never goes.


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%lo"],
        ["1.1.1.1", "127.0.0.1"],
        ["1.1.1.1", "::1"],
    ],
)
async def test_a_name_that_leads_inside_is_not_connected_to(addresses: list[str]) -> None:
    async with receiving(answering(200)) as receiver:
        sender = WebhookSender(private_allowed=False, lookup=found(*addresses))
        attempt = await post(sender, f"https://hooks.example.com:{receiver.port}/")
    assert attempt.error is not None
    assert attempt.error.startswith("not allowed: the address")
    assert (attempt.status, receiver.connections) == (None, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "127.0.0.1."])
async def test_an_inner_host_in_a_stored_url_is_not_connected_to(host: str) -> None:
    async with receiving(answering(200)) as receiver:
        for scheme in ("http", "https"):
            attempt = await post(WebhookSender(private_allowed=False), f"{scheme}://{host}:{receiver.port}/")
            assert attempt.error is not None
            assert attempt.error.startswith("not allowed")
    assert receiver.connections == 0


async def test_a_name_is_judged_anew_for_each_connection() -> None:
    answers = [["127.0.0.2"], ["169.254.169.254"]]
    sender = WebhookSender(private_allowed=True, lookup=lambda host, port: found(*answers.pop(0))(host, port))
    async with receiving(answering(200)) as receiver:
        first = await post(sender, f"http://hooks.example.com:{receiver.port}/")
        second = await post(sender, f"http://hooks.example.com:{receiver.port}/")
    assert first.error is not None
    assert first.error.startswith("no connection")
    assert second.error == "not allowed: the address 169.254.169.254 can't be called: cloud metadata"
    resolver = PublicResolver(private_allowed=False, lookup=found("1.1.1.1"))
    assert [one["host"] for one in await resolver.resolve("x", 443)] == ["1.1.1.1"]
    resolver._lookup = found("127.0.0.1")
    with pytest.raises(AddressRefused):
        await resolver.resolve("x", 443)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "::1"], ["::1", "127.0.0.1", "10.0.0.1"]])
async def test_the_socket_itself_is_refused_when_the_look_up_was_fooled(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fooled(self: PublicResolver, host: str, port: int = 0, family: Any = 0) -> Any:
        return [egress_connection._result(host, port, entry) for entry in found(*addresses)(host, port)]

    monkeypatch.setattr(PublicResolver, "resolve", fooled)
    async with receiving(answering(200)) as receiver:
        sender = WebhookSender(private_allowed=False)
        attempt = await post(sender, f"https://hooks.example.com:{receiver.port}/")
    assert attempt.error is not None
    assert "can't be called: " in attempt.error
    assert (attempt.status, receiver.connections) == (None, 0)


async def test_a_literal_address_is_refused_at_the_socket_too() -> None:
    async with receiving(answering(200)) as receiver:
        for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            async with aiohttp.ClientSession(connector=public_connector(private_allowed=False)) as session:
                with pytest.raises(aiohttp.ClientConnectorError) as refused:
                    await session.get(f"http://{host}:{receiver.port}/")
                assert isinstance(refused.value.os_error, AddressRefused)
    assert receiver.connections == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(answering(200)) as proxy, receiving(answering(200)) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(OURS, receiver.url)).succeeded
    assert (proxy.connections, receiver.connections) == (0, 1)


async def test_nothing_is_kept_from_one_message_to_the_next() -> None:
    async with receiving(answering(200, Set_Cookie="a=b; Path=/", Connection="keep-alive")) as receiver:
        await post(OURS, receiver.url)
        await post(OURS, receiver.url)
    assert receiver.connections == 2
    assert all("cookie" not in message.headers for message in receiver.messages)


# Names that can't be looked up.


async def test_a_look_up_that_hangs_ends_in_time_and_holds_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress_connection, "DNS_SECONDS", 0.05)
    release = threading.Event()

    def lookup(_host: str, _port: int) -> list[Any]:
        release.wait()
        return []

    resolver = PublicResolver(private_allowed=False, lookup=lookup)
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(egress_connection.MAX_LOOKUPS):
                tasks.start_soon(_expect_no_answer, resolver)
        with pytest.raises(OSError, match="too many names"):
            await resolver.resolve("example.com", 443)
        # The event loop's own pool is free.
        assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)
    finally:
        release.set()


async def _expect_no_answer(resolver: PublicResolver) -> None:
    with pytest.raises(OSError, match="not found in time"):
        await resolver.resolve("example.com", 443)


async def test_an_unknown_name_is_told_in_words() -> None:
    def lookup(_host: str, _port: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for one, words in ((lookup, "Name or service not known"), (found(), "the name has no address")):
        attempt = await post(WebhookSender(private_allowed=False, lookup=one), "https://example.com/")
        assert attempt.error == f"the name can't be looked up: {words}"


# Receivers that misbehave.


async def test_a_receiver_that_hangs_is_given_up() -> None:
    async with receiving(hang) as receiver:
        attempt = await post(WebhookSender(private_allowed=True, patience_seconds=0.1), receiver.url)
    assert (attempt.status, attempt.error) == (None, "no answer within 0.1 s")


async def test_an_endless_body_is_cut_and_the_status_counts() -> None:
    sent = 0

    async def flood(_: Received, writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()
            sent += 65536

    async with receiving(flood) as receiver:
        attempt = await post(OURS, receiver.url)
    assert attempt.succeeded
    assert attempt.excerpt == "a" * EXCERPT_LENGTH
    assert sent < 32 * 1024 * 1024  # what the system's buffers take


async def test_a_body_that_drips_takes_nothing_from_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sending, "EXCERPT_SECONDS", 0.1)

    async def drip(_: Received, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
        await writer.drain()
        await writer.wait_closed()

    async with receiving(drip) as receiver:
        attempt = await post(OURS, receiver.url)
    assert (attempt.status, attempt.succeeded, attempt.excerpt) == (200, True, "begin")


async def test_a_packed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b"a" * 20_000_000, 1)
    async with receiving(answering(200, bomb, Content_Encoding="gzip")) as receiver:
        attempt = await post(OURS, receiver.url)
    assert attempt.succeeded
    assert "aaaa" not in attempt.excerpt
    assert len(attempt.excerpt) <= EXCERPT_LENGTH


async def _many_headers(_: Received, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-header: value\r\n" * 1000)
        await writer.drain()


async def _long_header(_: Received, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        writer.write(b"a" * 65536)
        await writer.drain()


async def _interim_answers(_: Received, writer: Writer) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0)


async def _garbage(_: Received, writer: Writer) -> None:
    writer.write(b"\x00\xff SSH-2.0 \r\n\r\n")


async def _nothing(_: Received, writer: Writer) -> None:
    writer.close()


async def _upgrade(_: Received, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    await writer.drain()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "answer", [_many_headers, _long_header, _interim_answers, _garbage, _nothing, _upgrade]
)
async def test_what_is_no_answer_is_a_failure_in_words(answer: Any) -> None:
    async with receiving(answer) as receiver:
        attempt = await post(WebhookSender(private_allowed=True, patience_seconds=0.5), receiver.url)
    assert not attempt.succeeded
    assert attempt.error
    assert "fault of ours" not in attempt.error
    assert len(attempt.error) <= 300
    assert attempt.error.isprintable()


async def test_nobody_listening_is_told_in_words() -> None:
    async with receiving(answering(200)) as receiver:
        url = receiver.url
    attempt = await post(OURS, url)
    assert attempt.error is not None
    assert attempt.error.startswith("no connection: ")


# TLS.


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for hooks.example.com that only this test trusts, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=hooks.example.com"]
    command += ["-addext", "subjectAltName=DNS:hooks.example.com"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    return certificate, key


async def test_the_certificate_must_be_trusted_and_of_that_name(certificate: tuple[Path, Path]) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))

    async def error_of(host: str, trusted: Any) -> str | None:
        sender = WebhookSender(private_allowed=True, lookup=found("127.0.0.1"), ssl=trusted)
        return (await post(sender, f"https://{host}:{receiver.port}/")).error

    async with receiving(answering(200), serving) as receiver:
        assert await error_of("hooks.example.com", trusting) is None
        unknown = await error_of("hooks.example.com", True)
        other = await error_of("other.example.com", trusting)
        literal = await error_of("127.0.0.1", trusting)
    for error in (unknown, other, literal):
        assert error is not None
        assert error.startswith("the certificate is not accepted")
    assert len(receiver.messages) == 1
