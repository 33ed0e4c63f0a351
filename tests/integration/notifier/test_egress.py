"""Webhooks reach the public internet only, however an inner address is spelled."""

import pytest
from aiohttp import ClientError, InvalidURL
from yarl import URL

from services.notifier.channels.egress import open_session
from services.notifier.channels.notice import NotDelivered
from services.notifier.channels.webhook import post, read_url
from tests.integration.notifier.receivers import Receiver

# What really reaches a server on 127.0.0.1 when nobody guards; otherwise the test would prove nothing.
REACHING = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "[::ffff:127.0.0.1]",
    "user@127.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "0.0.0.0",  # noqa: S104 - it is called, not listened on
]
OTHERS = [
    "localhost.",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.0.0.2",
    "[::1]",
    "[::]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00::1]",
    "10.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
]


@pytest.mark.parametrize("host", [*REACHING, *OTHERS])
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str) -> None:
    async with Receiver().serving() as receiver, open_session(allow_private=False) as web:
        with pytest.raises(NotDelivered):
            await post(web, read_url(f"http://{host}:{receiver.port}/", allow_http=True), {}, b"{}")
        assert receiver.calls == []


@pytest.mark.parametrize("host", REACHING)
async def test_without_the_guard_these_spellings_do_reach_the_server(host: str) -> None:
    async with Receiver().serving() as receiver, open_session(allow_private=True) as web:
        await post(web, URL(f"http://{host}:{receiver.port}/"), {}, b"{}")
        assert len(receiver.calls) == 1


async def test_the_refusal_says_why() -> None:
    async with open_session(allow_private=False) as web:
        with pytest.raises(NotDelivered, match=r"^The receiver was not reached: the address is not on the public internet\.$"):  # fmt: skip
            await post(web, URL("http://localhost/"), {}, b"{}")


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver().serving() as proxy, open_session(allow_private=True) as web:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises((NotDelivered, ClientError, InvalidURL)):
            await post(web, URL("http://127.0.0.1:9/"), {}, b"{}")
        assert proxy.calls == []


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with Receiver().serving() as receiver, open_session(allow_private=True) as web:
        receiver.endless = True
        with pytest.raises(NotDelivered, match=r"^The receiver answered 500: x{200}$"):
            await post(web, URL(receiver.url("/")), {}, b"{}")
        assert receiver.sent < 20_000_000
