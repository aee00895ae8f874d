"""Who asks: the project, user and roles of a request. Never a token or a password (F2)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of an operation.

    :param project: id of the project (tenant) that asks; None for an operator who acts for no project
    :param user: id of the user
    :param roles: names of the roles the caller has in that project
    :param request_id: id of the request, kept in the run's task row
    """

    project: str | None = None
    user: str | None = None
    roles: tuple[str, ...] = ()
    request_id: str | None = None

    @classmethod
    def operator(cls, admin_role: str = "admin") -> Self:
        """The identity of whoever may read the configuration file and so the database itself."""
        return cls(roles=(admin_role,))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, fact: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` made."""
        return cls(**{**fact, "roles": tuple(fact.get("roles", ()))})

    def credentials(self) -> dict[str, Any]:
        """What the policy engine matches rules against."""
        return {"project_id": self.project, "user_id": self.user, "roles": list(self.roles)}
