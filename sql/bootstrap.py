"""Make sure that there is a workspace, an admin who gets mail, and an operator's API key.

    MIGRATE_DATABASE_URL=… POINTMILL_API_KEY=pm_… POINTMILL_MEMBER_EMAIL=… python -m sql.bootstrap

Harmless when repeated; a key that was there becomes an operator's. The key's secret is stored only as its SHA-256: it carries 192 random bits,
so a slow hash would protect nothing and cost every request.
"""

import asyncio
import hashlib
import os
import re
import sys
import uuid

import asyncpg

KEY = re.compile(r"pm_([0-9a-f]{8})_([0-9a-f]{48})(?:_[0-9a-f]{8})?")
DEFAULT_WORKSPACE = uuid.UUID("00000000-0000-7000-8000-000000000001")


async def bootstrap(  # noqa: PLR0913 - the three rows
    url: str,
    api_key: str,
    email: str | None,
    workspace: str = "default",
    workspace_id: uuid.UUID = DEFAULT_WORKSPACE,
    *,
    operator: bool = True,
) -> None:
    """Insert what is missing; leave what is there.

    Raises:
        ValueError: the key does not have the form `pm_<8 hex>_<48 hex>`.
    """
    match = KEY.fullmatch(api_key)
    if match is None:
        raise ValueError("The API key must look like pm_<8 hex digits>_<48 hex digits>.")
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        async with connection.transaction():
            await connection.execute(
                "insert into workspaces (id, name) values ($1, $2) on conflict do nothing",
                workspace_id,
                workspace,
            )
            await connection.execute(
                "insert into api_keys (id, workspace_id, name, secret_sha256, operator) "
                "values ($1, $2, 'first key', $3, $4) "
                "on conflict (id) do update set operator = true where excluded.operator",
                match[1],
                workspace_id,
                hashlib.sha256(match[2].encode()).digest(),
                operator,
            )
            if email:
                await connection.execute(
                    "insert into members (workspace_id, name, email, role) values ($1, $2, $3, 'admin')"
                    " on conflict do nothing",
                    workspace_id,
                    email.split("@")[0],
                    email,
                )
    finally:
        await connection.close()


def main() -> int:
    """The command line; exit status 0 when everything is there."""
    try:
        asyncio.run(
            bootstrap(
                os.environ["MIGRATE_DATABASE_URL"],
                os.environ["POINTMILL_API_KEY"],
                os.environ.get("POINTMILL_MEMBER_EMAIL"),
            )
        )
    except KeyError as error:
        sys.stderr.write(f"Set {error.args[0]}.\n")
        return 2
    except (ValueError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
