"""Members: the people of a workspace and what they may do in it."""

from typing import Annotated
from uuid import UUID

import structlog
from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.api import Query, Reply, Routes
from services.gateway.caller import Admin
from services.gateway.fields import Name, Order
from services.gateway.models.members import Member, Members
from services.gateway.once import GatewayOnce
from services.gateway.paging import Listing
from services.gateway.problems import LAST_ADMIN, MEMBER_EXISTS, MEMBER_NOT_FOUND, Problem
from services.gateway.resources import Gateway
from services.gateway.roles import Role
from shared.db import Transaction

routes = Routes("members")
logger = structlog.get_logger("gateway")

# As the table's constraint; in small letters, so that one person is one row.
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[\x21-\x3f\x41-\x7e]+@[\x21-\x3f\x41-\x7e]+$"),
    AfterValidator(str.lower),
    Field(examples=["ada@example.org"]),
]


class NewMember(Order):
    """A person to be added."""

    name: Name
    email: Annotated[Email, Field(description="Whoever signs in with this address is meant.")]
    role: Role
    notify_by_mail: bool = True


class MemberChange(Order):
    """What to change; what is absent or null stays as it is."""

    name: Name | None = None
    role: Role | None = None
    notify_by_mail: bool | None = None


@routes.post("/v1/members", status=201, problems=(MEMBER_EXISTS,))
async def add_member(gateway: GatewayOnce, caller: Admin, body: NewMember) -> Reply[Member]:
    """Add a person to the workspace."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row(
            "create_member",
            caller.workspace,
            body.name,
            body.email,
            body.role,
            body.notify_by_mail,
        )
    if row is None:
        raise Problem.of_field(MEMBER_EXISTS, "email", "is another member's")
    member = Member.of(row)
    logger.info("member_added", member=str(member.id), role=member.role, by=caller.principal)
    return Reply(member, headers={"Location": f"/v1/members/{member.id}"})


@routes.get("/v1/members")
async def list_members(
    gateway: Gateway, caller: Admin, query: Annotated[Listing, Query()]
) -> Members:
    """List the members, newest first."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows("list_members", *after, query.limit + 1)
    rows, cursor = query.cut(found)
    return Members(items=[Member.of(row) for row in rows], next=cursor)


@routes.get("/v1/members/{member_id}", problems=(MEMBER_NOT_FOUND,))
async def read_member(gateway: Gateway, caller: Admin, member_id: UUID) -> Member:
    """Read a member."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("read_member", member_id)
    if row is None:
        raise Problem(MEMBER_NOT_FOUND)
    return Member.of(row)


@routes.patch("/v1/members/{member_id}", problems=(MEMBER_NOT_FOUND, LAST_ADMIN))
async def change_member(
    gateway: Gateway, caller: Admin, member_id: UUID, body: MemberChange
) -> Member:
    """Change a member, such as the role. The last admin stays one."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        if body.role not in {None, Role.ADMIN}:
            await _refuse_the_last_admin(transaction, member_id)
        row = await transaction.row(
            "change_member", member_id, body.name, body.role, body.notify_by_mail
        )
    if row is None:
        raise Problem(MEMBER_NOT_FOUND)
    changed = body.model_dump(exclude_unset=True, exclude={"name"})
    logger.info("member_changed", member=str(member_id), by=caller.principal, **changed)
    return Member.of(row)


@routes.delete("/v1/members/{member_id}", problems=(MEMBER_NOT_FOUND, LAST_ADMIN))
async def remove_member(gateway: Gateway, caller: Admin, member_id: UUID) -> None:
    """Remove a member; not the last admin.

    What they have made stays, also their API keys: revoke those that they know.
    """
    async with gateway.database.transaction(caller.workspace) as transaction:
        await _refuse_the_last_admin(transaction, member_id)
        row = await transaction.row("delete_member", member_id)
    if row is None:
        raise Problem(MEMBER_NOT_FOUND)
    logger.info("member_removed", member=str(member_id), by=caller.principal)


async def _refuse_the_last_admin(transaction: Transaction, member_id: UUID) -> None:
    """Two admins who remove each other at once: the second waits here, and is then the last."""
    admins = [row["id"] for row in await transaction.rows("lock_admins")]
    if admins == [member_id]:
        raise Problem(LAST_ADMIN)
