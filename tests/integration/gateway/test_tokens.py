"""Bearer tokens of an OpenID provider open what their owner may do, and nothing that is not right does."""

import base64
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import jwt
import orjson
import pytest

from services.gateway import oidc
from services.gateway.oidc import Provider as Known
from services.gateway.oidc import ProviderAway, TokenRefused
from tests.fixtures.provider import Provider
from tests.integration.gateway.conftest import AUDIENCE, OTHER_WORKSPACE, Api, Running


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.people.REMEMBERED_SECONDS", 0)


@pytest.fixture
async def known(provider: Provider) -> AsyncIterator[Known]:
    """The provider as the gateway knows it, with nothing asked yet."""
    async with aiohttp.ClientSession() as http:
        yield Known(http, provider.issuer)


def ada(**more: Any) -> dict[str, Any]:
    """A person whom nobody has seen before."""
    unique = uuid.uuid4().hex
    email = f"{unique}@example.org"
    return {"sub": unique, "email": email, "email_verified": True, "name": "Ada", **more}


async def invite(api: Api, person: dict[str, Any], role: str) -> Any:
    return await api.make("/v1/members", name="Ada", email=person["email"], role=role)


def client(running: Running, person: dict[str, Any], **options: Any) -> Api:
    return replace(running.nobody, key=running.provider.token(AUDIENCE, **options, **person))


@pytest.mark.parametrize("key", ["rsa", "ec"])
async def test_a_member_does_what_the_role_allows(running: Running, key: str) -> None:
    person = ada()
    await invite(running.api, person, "editor")
    them = client(running, person, key=key)
    made = await them("POST", "/v1/projects", json={"name": f"by token {key}"})
    assert made.status == 201
    assert (await them("GET", "/v1/keys")).problem == (403, "role_too_low", [])
    session = (await them("GET", "/v1/session")).json
    assert (session["role"], session["user"]["name"], session["operator"]) == (
        "editor",
        "Ada",
        False,
    )
    assert [one["name"] for one in session["workspaces"]] == ["default"]


async def test_who_is_no_member_is_told_so(running: Running) -> None:
    assert (await client(running, ada())("GET", "/v1/kinds")).problem == (403, "not_a_member", [])


async def test_an_address_that_nobody_has_verified_opens_nothing(running: Running) -> None:
    for verified in (False, None, "true"):
        person = ada(email_verified=verified)
        await invite(running.api, person, "admin")
        answer = await client(running, person)("GET", "/v1/kinds")
        assert answer.problem == (403, "not_a_member", [])


async def test_a_member_is_the_subject_that_came_first_whatever_the_address(
    running: Running,
) -> None:
    """Whoever gets the address later does not get the place."""
    person = ada()
    await invite(running.api, person, "viewer")
    assert (await client(running, person)("GET", "/v1/kinds")).status == 200
    moved = {**person, "email": "elsewhere@example.org"}
    assert (await client(running, moved)("GET", "/v1/kinds")).status == 200
    heir = {**ada(), "email": person["email"]}
    assert (await client(running, heir)("GET", "/v1/kinds")).problem[1] == "not_a_member"


async def test_a_removed_member_gets_in_no_more(running: Running) -> None:
    person = ada()
    member = await invite(running.api, person, "viewer")
    them = client(running, person)
    assert (await them("GET", "/v1/kinds")).status == 200
    assert (await running.api("DELETE", f"/v1/members/{member['id']}")).status == 204
    assert (await them("GET", "/v1/kinds")).problem[1] == "not_a_member"


async def test_who_belongs_to_several_workspaces_names_one(running: Running) -> None:
    person = ada()
    await invite(running.api, person, "viewer")
    await invite(running.other, person, "admin")
    them = client(running, person)
    answer = await them("GET", "/v1/session")
    assert answer.problem == (400, "workspace_needed", [])
    assert str(OTHER_WORKSPACE) in answer.json["detail"]
    chosen = {"Pointmill-Workspace": str(OTHER_WORKSPACE)}
    assert (await them("GET", "/v1/session", headers=chosen)).json["role"] == "admin"
    nowhere = {"Pointmill-Workspace": str(uuid.UUID(int=9))}
    for one in (them, running.api):
        answer = await one("GET", "/v1/session", headers=nowhere)
        assert answer.problem == (404, "workspace_not_found", [])
    answer = await them("GET", "/v1/session", headers={"Pointmill-Workspace": "mine"})
    assert answer.problem == (422, "invalid_request", ["Pointmill-Workspace"])


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody else"},
        {"iss": "https://elsewhere.example"},
        {"exp": int(time.time()) - 31},
        {"exp": None},
        {"iat": None},
        {"nbf": int(time.time()) + 600},
        {"sub": None},
        {"sub": ""},
        {"sub": "a" * 256},
        {"sub": 7},
    ],
)
async def test_a_token_that_is_not_right_opens_nothing(
    running: Running, claims: dict[str, Any]
) -> None:
    answer = await client(running, {**ada(), **claims})("GET", "/v1/kinds")
    assert answer.problem == (401, "unauthorized", [])


async def test_clocks_may_differ_by_half_a_minute(provider: Provider, known: Known) -> None:
    now = int(time.time())
    await known.verify(provider.token(AUDIENCE, sub="a", exp=now - 20, nbf=now + 20), AUDIENCE)


async def test_a_token_signed_otherwise_is_refused(provider: Provider, known: Known) -> None:
    """Not at all, with the public key as a password, by somebody else, or changed afterwards."""
    right = provider.token(AUDIENCE, sub="a")
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "iat": 0, "exp": 2**32, "sub": "a"}
    stranger = Provider(provider.issuer)
    stranger.add_key("rsa", "RS256")
    head, _, signature = right.split(".")
    body = base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip("=")
    await known.verify(right, AUDIENCE)
    for wrong in (
        jwt.encode(claims, None, "none", headers={"kid": "rsa"}),
        jwt.encode(claims, "a" * 64, "HS256", headers={"kid": "rsa"}),
        stranger.token(AUDIENCE, sub="a"),
        f"{head}.{body}.{signature}",
        right[:-6],
        "a.b.c",
        "...",
        "",
        "e30." * 2,
    ):
        with pytest.raises(TokenRefused):
            await known.verify(wrong, AUDIENCE)


async def test_a_key_of_one_kind_does_not_stand_for_another(
    provider: Provider, known: Known
) -> None:
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "iat": 0, "exp": 2**32, "sub": "a"}
    _, private = provider.keys["ec"]
    token = jwt.encode(claims, private, "ES256", headers={"kid": "rsa"})
    with pytest.raises(TokenRefused, match="another kind"):
        await known.verify(token, AUDIENCE)


async def test_the_keys_are_asked_for_once_and_again_when_a_new_one_comes(
    provider: Provider, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = provider.asked
    for _ in range(3):
        await known.verify(provider.token(AUDIENCE, sub="a"), AUDIENCE)
    assert provider.asked == before + 1
    provider.add_key("new", "RS256")
    token = provider.token(AUDIENCE, key="new", sub="a")
    for _ in range(3):  # made-up key ids must not make us ask again and again
        with pytest.raises(TokenRefused):
            await known.verify(token, AUDIENCE)
    assert provider.asked == before + 1
    monkeypatch.setattr(oidc, "SOONEST_SECONDS", 0.0)
    assert (await known.verify(token, AUDIENCE)).subject == "a"
    assert provider.asked == before + 2


async def test_while_the_provider_is_away_its_old_keys_are_good_enough(
    provider: Provider, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.token(AUDIENCE, sub="a")
    provider.away = True
    try:
        with pytest.raises(ProviderAway):
            await known.verify(token, AUDIENCE)
        provider.away = False
        monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)
        await known.verify(token, AUDIENCE)
        provider.away = True
        monkeypatch.setattr(known, "_until", 0.0)
        monkeypatch.setattr(oidc, "SOONEST_SECONDS", 0.0)
        assert (await known.verify(token, AUDIENCE)).subject == "a"
    finally:
        provider.away = False
