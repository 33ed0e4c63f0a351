"""Webhooks over HTTP."""

import pytest

from tests.integration.gateway.conftest import Api


async def test_the_secret_of_a_webhook_is_shown_once(api: Api) -> None:
    made = await api("POST", "/v1/webhooks", json={"url": "https://example.org/hook?a=1"})
    assert made.status == 201
    assert made.json["secret"].startswith("whsec_")
    listed = (await api("GET", "/v1/webhooks")).json["items"]
    assert [one["url"] for one in listed] == ["https://example.org/hook?a=1"]
    assert "secret" not in listed[0]
    path = made.headers["Location"]
    assert (await api("DELETE", path)).status == 204
    assert (await api("DELETE", path)).problem == (404, "webhook_not_found", [])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "file:///etc/passwd",
        "ftp://example.org",
        "http://",
        "http://user:word@example.org",
        "http://example.org/#part",
        "http://example.org:99999/",
        "http://exa mple.org/",
        "http://example.org/" + "x" * 2000,
        "http://[::1/",
    ],
)
async def test_an_address_that_cannot_be_called_is_refused(api: Api, url: str) -> None:
    answer = await api("POST", "/v1/webhooks", json={"url": url})
    assert answer.problem == (422, "invalid_request", ["url"])
