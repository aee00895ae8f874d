"""What an import was asked to do, every choice made: a frozen JSON value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from glance_flows import states
from glance_flows.identity import Identity


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An admitted request to import or copy an image.

    :param image_id: the image
    :param method: name of the import method
    :param stores: the stores that are to get the bytes, in the order asked for
    :param status: the status of the image when the request was admitted
    :param algorithm: hash algorithm of the image's data
    :param lanes: how many stores are uploaded to at once (C22)
    :param uri: where the bytes come from, for methods that fetch them
    :param all_stores_must_succeed: whether one failing store fails the import (C12, C13)
    :param parameters: whatever else the method was given
    """

    image_id: str
    method: str
    stores: tuple[str, ...]
    status: str
    algorithm: str
    lanes: int = 4
    uri: str | None = None
    all_stores_must_succeed: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""
    identity: Identity = field(default_factory=Identity)

    @property
    def first_data(self) -> bool:
        """Whether the image has no data yet, so that this import gives it its digests and makes it active."""
        return self.status != states.ACTIVE

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, fact: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` made."""
        plain = {**fact, "stores": tuple(fact["stores"]), "identity": Identity.from_json(fact["identity"])}
        return cls(**plain)

    def as_glance_shows_it(self) -> dict[str, Any]:
        """Return the input of the task row, as Glance writes it."""
        method = {"name": self.method, **self.parameters}
        if self.uri is not None:
            method["uri"] = self.uri
        body = {"method": method, "stores": list(self.stores), "all_stores_must_succeed": self.all_stores_must_succeed}
        return {"image_id": self.image_id, "import_req": body, "backend": list(self.stores)}
