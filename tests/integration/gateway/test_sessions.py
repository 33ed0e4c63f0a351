"""A browser signs in at the provider, has a session, and no other site can use it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from services.gateway.sessions import COOKIE, SIGN_IN_COOKIE
from tests.integration.gateway.conftest import OTHER_WORKSPACE, PUBLIC_URL, Answer, Running
from tests.integration.gateway.test_tokens import ada, invite

OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.people.REMEMBERED_SECONDS", 0)


@dataclass
class Browser:
    """As much of a browser as it takes: cookies kept by name, redirects followed by hand."""

    running: Running
    provider: aiohttp.ClientSession
    cookies: dict[str, str]

    async def __call__(self, method: str, path: str, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={one}" for name, one in self.cookies.items())
        answer = await self.running.nobody(
            method, path, headers=headers, allow_redirects=False, **options
        )
        for line in answer.headers.getall("Set-Cookie", []):
            for name, one in SimpleCookie(line).items():
                assert (one["secure"], one["httponly"], one["samesite"]) == (True, True, "Lax")
                assert (one["path"], one["domain"]) == ("/", "")
                if one["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = one.value
        return answer

    async def to_provider(self, path: str = "/v1/sign-in") -> str:
        """Begin; the path with which the provider sends the browser back."""
        begun = await self("GET", path)
        assert begun.status == 303, begun.body
        async with self.provider.get(begun.headers["Location"], allow_redirects=False) as answer:
            place = answer.headers["Location"]
        assert place.startswith(f"{PUBLIC_URL}/v1/sign-in/callback?")
        return place.removeprefix(PUBLIC_URL)

    async def sign_in(self, person: dict[str, Any]) -> Answer:
        self.running.provider.person = person
        return await self("GET", await self.to_provider())


@pytest.fixture
async def browser(running: Running) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as provider:
        yield Browser(running, provider, {})


async def test_a_browser_signs_in_works_and_signs_out(running: Running, browser: Browser) -> None:
    person = ada()
    await invite(running.api, person, "editor")
    running.provider.person = person
    back = await browser("GET", await browser.to_provider("/v1/sign-in?return_to=/page?x=1"))
    assert (back.status, back.headers["Location"]) == (303, "/page?x=1")
    assert set(browser.cookies) == {COOKIE}
    session = (await browser("GET", "/v1/session")).json
    assert (session["role"], session["user"]["email"]) == ("editor", person["email"])
    made = await browser("POST", "/v1/projects", json={"name": "by browser"}, headers=OURS)
    assert made.status == 201
    kept = dict(browser.cookies)
    assert (await browser("DELETE", "/v1/session", headers=OURS)).status == 204
    assert browser.cookies == {}
    browser.cookies = kept  # it is over, not merely forgotten here
    assert (await browser("GET", "/v1/session")).problem == (401, "unauthorized", [])


async def test_a_session_is_kept_as_a_hash_and_ends(running: Running, browser: Browser) -> None:
    person = ada()
    await invite(running.api, person, "viewer")
    await browser.sign_in(person)
    async with running.database.connected() as connection:
        kept = await connection.fetchval("select string_agg(s::text, ' ') from sessions s")
        assert browser.cookies[COOKIE] not in kept
        await connection.execute("update sessions set expires_at = now()")
    assert (await browser("GET", "/v1/session")).problem == (401, "unauthorized", [])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": PUBLIC_URL},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_another_site_cannot_use_the_cookie(
    running: Running, browser: Browser, headers: dict[str, str]
) -> None:
    person = ada()
    await invite(running.api, person, "editor")
    await browser.sign_in(person)
    for method, path, more in (
        ("POST", "/v1/projects", {}),
        ("PUT", "/v1/clouds?name=a.laz", {}),
        ("DELETE", "/v1/session", {}),
        ("GET", "/v1/projects", {"Upgrade": "websocket", "Connection": "Upgrade"}),
    ):
        answer = await browser(method, path, headers={**headers, **more})
        assert answer.problem == (403, "cross_site", []), (method, path)
    assert (await browser("GET", "/v1/session", headers=headers)).status == 200


async def test_a_browser_that_says_only_its_origin_is_ours_by_that(
    running: Running, browser: Browser
) -> None:
    person = ada()
    await invite(running.api, person, "editor")
    await browser.sign_in(person)
    ours = {"Origin": PUBLIC_URL}
    made = await browser("POST", "/v1/projects", json={"name": "old browser"}, headers=ours)
    assert made.status == 201


async def test_a_session_looks_at_the_workspace_that_was_chosen(
    running: Running, browser: Browser
) -> None:
    person = ada()
    await invite(running.api, person, "viewer")
    theirs = await invite(running.other, person, "admin")
    await browser.sign_in(person)
    assert (await browser("GET", "/v1/session")).json["role"] == "viewer"
    chosen = {"workspace": str(OTHER_WORKSPACE)}
    assert (await browser("PATCH", "/v1/session", json=chosen, headers=OURS)).status == 204
    session = (await browser("GET", "/v1/session")).json
    assert (session["workspace"], session["role"]) == (str(OTHER_WORKSPACE), "admin")
    await running.other.make("/v1/members", name="b", email=ada()["email"], role="admin")
    await running.other("DELETE", f"/v1/members/{theirs['id']}")
    assert (await browser("GET", "/v1/session")).json["role"] == "viewer"
    answer = await browser("PATCH", "/v1/session", json=chosen, headers=OURS)
    assert answer.problem == (404, "workspace_not_found", [])


async def test_a_sign_in_that_another_browser_began_is_refused(
    running: Running, browser: Browser
) -> None:
    running.provider.person = ada()
    place = await browser.to_provider()
    stranger = Browser(running, browser.provider, {})
    assert (await stranger("GET", place)).problem == (400, "sign_in_failed", [])
    await stranger("GET", "/v1/sign-in")
    assert (await stranger("GET", place)).problem == (400, "sign_in_failed", [])
    assert (await browser("GET", place)).status == 303
    assert (await browser("GET", place)).problem == (400, "sign_in_failed", [])


@pytest.mark.parametrize("change", ["code", "verifier", "nonce", "denied", "issuer"])
async def test_a_sign_in_that_was_tampered_with_is_refused(
    running: Running, browser: Browser, change: str
) -> None:
    running.provider.person = ada()
    place = await browser.to_provider()
    state = parse_qs(urlsplit(place).query)["state"][0]
    parts = browser.cookies[SIGN_IN_COOKIE].split(".")
    if change == "code":
        place = f"/v1/sign-in/callback?code=made-up&state={state}"
    elif change == "denied":
        place = f"/v1/sign-in/callback?error=access_denied&state={state}"
    elif change == "issuer":
        place += "&iss=https://elsewhere.example"
    else:
        parts[{"nonce": 1, "verifier": 2}[change]] = "another"
    browser.cookies[SIGN_IN_COOKIE] = ".".join(parts)
    assert (await browser("GET", place)).problem == (400, "sign_in_failed", [])
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize(
    "page", ["https://evil.example", "//evil.example", "/\\evil.example", "x", "/%0d"]
)
async def test_it_comes_back_to_a_page_of_ours_only(browser: Browser, page: str) -> None:
    answer = await browser("GET", "/v1/sign-in", params={"return_to": page})
    if page == "/%0d":
        assert answer.status == 303  # a path like any other, as it is never decoded
    else:
        assert answer.problem == (422, "invalid_request", ["return_to"])
