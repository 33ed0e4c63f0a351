"""What a caller may do in its workspace: three roles, each of which may do what those before it may."""

from enum import StrEnum


class Role(StrEnum):
    """The type `member_role` of the database."""

    VIEWER = "viewer"  # reads everything but keys, members and webhooks
    EDITOR = "editor"  # makes, changes, deletes and runs
    ADMIN = "admin"  # gives others access, and takes it away

    def allows(self, needed: "Role") -> bool:
        """Whether this role may do what needs that one."""
        return RANK[self] >= RANK[needed]


RANK = {role: rank for rank, role in enumerate(Role)}
