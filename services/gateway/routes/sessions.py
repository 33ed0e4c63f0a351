"""Signing in with a browser (authorization code with PKCE), the session, and who asks."""

import base64
import hashlib
import hmac
import secrets
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import Field, StringConstraints

from services.gateway.api import Query, Routes
from services.gateway.caller import SessionHolder, Viewer
from services.gateway.fields import Order
from services.gateway.models.sessions import Session, SessionUser, SessionWorkspace
from services.gateway.oidc import Provider, TokenRefused
from services.gateway.problems import (
    NO_SIGN_IN,
    SIGN_IN_FAILED,
    SIGN_IN_UNAVAILABLE,
    WORKSPACE_NOT_FOUND,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.sessions import COOKIE, SIGN_IN_COOKIE, set_cookie

routes = Routes("sessions")
logger = structlog.get_logger("gateway")

# How long somebody may take at the provider.
SIGN_IN_SECONDS = 600
SCOPES = "openid email profile"
# A path of ours: not `//elsewhere`, nor what browsers take for it.
ReturnTo = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^/([!-.0-\[\]-~][!-\[\]-~]*)?$"),
    Field(description="The page to come back to.", examples=["/"]),
]


class SignIn(Order):
    """Where to go afterwards."""

    return_to: ReturnTo = "/"


class SessionChange(Order):
    """What to change of a session."""

    workspace: Annotated[UUID, Field(description="The workspace to look at from now on.")]


def _configured(gateway: Gateway) -> tuple[Provider, str, str]:
    """The provider, our name there, and where it sends browsers back to."""
    settings, provider = gateway.settings, gateway.people.provider
    if provider is None or settings.oidc_client_id is None or settings.public_url is None:
        raise Problem(NO_SIGN_IN)
    back = f"{settings.public_url.rstrip('/')}/v1/sign-in/callback"
    return provider, settings.oidc_client_id, back


@routes.get("/v1/sign-in", status=303, problems=(NO_SIGN_IN, SIGN_IN_UNAVAILABLE))
async def start_sign_in(gateway: Gateway, query: Annotated[SignIn, Query()]) -> web.Response:
    """Send a browser to the OpenID provider; it comes back with a session."""
    provider, client, back = _configured(gateway)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": back,
        "scope": SCOPES,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
    }
    address = await provider.endpoint("authorization_endpoint")
    place = f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"
    response = web.Response(status=303, headers={"Location": place})
    page = base64.urlsafe_b64encode(query.return_to.encode()).decode().rstrip("=")
    # Only this browser may finish what it has begun.
    kept = f"{state}.{nonce}.{verifier}.{page}"
    set_cookie(response, SIGN_IN_COOKIE, kept, SIGN_IN_SECONDS)
    return response


@routes.get(
    "/v1/sign-in/callback", status=303, problems=(NO_SIGN_IN, SIGN_IN_FAILED, SIGN_IN_UNAVAILABLE)
)
async def finish_sign_in(gateway: Gateway, request: web.Request) -> web.Response:
    """Where the OpenID provider sends a browser back to."""
    provider, client, back = _configured(gateway)
    begun = request.cookies.get(SIGN_IN_COOKIE, "").split(".")
    given = request.query
    if len(begun) != 4 or not hmac.compare_digest(
        begun[0].encode(), given.get("state", "").encode()
    ):
        raise Problem(SIGN_IN_FAILED, "This browser has not begun this sign-in, or long ago.")
    if given.get("iss", provider.issuer) != provider.issuer:
        raise Problem(SIGN_IN_FAILED, "The answer is another provider's.")
    if "code" not in given:
        raise Problem(SIGN_IN_FAILED, f"The provider said {given.get('error', 'nothing')[:100]}.")
    _, nonce, verifier, page = begun
    form = {
        "grant_type": "authorization_code",
        "code": given["code"],
        "redirect_uri": back,
        "code_verifier": verifier,
    }
    secret = gateway.settings.oidc_client_secret
    plain = None if secret is None else secret.get_secret_value()
    try:
        token = await provider.exchange(form, client, plain)
        user = await gateway.people.sign_in(await provider.verify(token, client, nonce))
    except TokenRefused as error:
        raise Problem(SIGN_IN_FAILED, error.detail) from error
    seconds = gateway.settings.session_seconds
    session = await gateway.people.open_session(user, seconds)
    logger.info("signed_in", user=str(user.id), workspaces=len(user.memberships))
    place = base64.urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
    response = web.Response(status=303, headers={"Location": place})
    set_cookie(response, SIGN_IN_COOKIE, "", 0)
    set_cookie(response, COOKIE, session, seconds)
    return response


@routes.get("/v1/session")
async def read_session(gateway: Gateway, caller: Viewer) -> Session:
    """Say who asks, in which workspace, and what they may do there."""
    user = caller.user
    if user is None:
        async with gateway.database.transaction(caller.workspace) as transaction:
            name = await transaction.value("read_workspace_name")
        places = [SessionWorkspace(id=caller.workspace, name=name, role=caller.role)]
    else:
        places = [
            SessionWorkspace(id=one.workspace, name=one.name, role=one.role)
            for one in user.memberships
        ]
    return Session(
        principal=caller.principal,
        role=caller.role,
        operator=caller.operator,
        workspace=caller.workspace,
        workspaces=places,
        user=user and SessionUser(name=user.name, email=user.email),
        expires_at=user and user.expires_at,
    )


@routes.patch("/v1/session", status=204, problems=(WORKSPACE_NOT_FOUND,))
async def change_session(gateway: Gateway, holder: SessionHolder, body: SessionChange) -> None:
    """Look at another workspace with this browser.

    Whoever sends a token instead of a cookie names the workspace in the header `Pointmill-Workspace`.
    """
    if not await gateway.people.choose(holder.session, body.workspace):
        raise Problem(WORKSPACE_NOT_FOUND)


@routes.delete("/v1/session")
async def sign_out(gateway: Gateway, holder: SessionHolder) -> web.Response:
    """Sign this browser out. The session at the OpenID provider goes on."""
    await gateway.people.close_session(holder.session)
    response = web.Response(status=204)
    set_cookie(response, COOKIE, "", 0)
    return response
