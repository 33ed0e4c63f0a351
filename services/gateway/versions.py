"""Changes that must not overwrite another's: a row's version as ETag and If-Match (RFC 9110)."""

from services.gateway.problems import PRECONDITION_FAILED, Problem


def etag(version: int) -> dict[str, str]:
    """The header that tells a row's version."""
    return {"ETag": f'"v{version}"'}


def expected(if_match: str | None) -> int | None:
    """The version a client expects; None when any will do."""
    return None if if_match is None else int(if_match.strip('"')[1:])


def refuse_stale(current: int, if_match: str | None) -> None:
    """Raise unless the row has the version that the client expects."""
    if if_match is not None and expected(if_match) != current:
        raise Problem(PRECONDITION_FAILED, f'The version is "v{current}", not {if_match}.')
