"""The door of imports and copies: what must not start is refused here, and leaves nothing behind (C2 to C9)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from glance_flows import errors, states
from glance_flows.flow import FlowSpec
from glance_flows.identity import Identity
from glance_flows.images import Image
from glance_flows.methods import ImportMethod
from glance_flows.request import ImportRequest
from glance_flows.services import Services


@dataclass(frozen=True, slots=True)
class Asked:
    """An import as it was asked for, before anything of it is believed."""

    FIELDS: ClassVar[tuple[str, ...]] = ()

    image_id: Any
    method: Any
    stores: Any
    all_stores: Any
    uri: Any
    all_stores_must_succeed: Any
    allow_failure: Any
    parameters: Any


Asked.FIELDS = tuple(item.name for item in fields(Asked))


def admit_import(spec: FlowSpec, asked: Asked, services: Services, identity: Identity | None) -> FlowSpec:
    """Return the specification with every choice made, or refuse it.

    :raises BadRequest: the request is malformed; the message names the field (C7, C8)
    :raises Unauthorized, Forbidden, NotFound: see :func:`visible_image` and the policy (C3, C4)
    :raises Conflict: the image is in another status, a store is not there, or another flow holds the image (C2, C6, C9)
    """
    must_succeed = _must_succeed(asked)
    _check_shape(asked)
    method = _method(asked.method, services)
    image, caller = visible_image(asked.image_id, services, identity)
    services.policy.allow(method.policy, image, caller)
    _check_image(image, method)
    request = ImportRequest(
        image_id=image.id,
        method=method.name,
        stores=_stores(asked, image, method, services),
        status=image.status,
        algorithm=(image.os_hash_algo if image.status == states.ACTIVE else None) or services.conf.hashing_algorithm,
        lanes=services.conf.image_import_opts.max_parallel_stores,
        uri=asked.uri,
        all_stores_must_succeed=must_succeed,
        parameters=dict(asked.parameters or {}),
        owner=caller.project or image.owner or "",
        identity=caller,
    )
    method.check(request, services.conf)
    services.db.claims.check_free(image.id)
    return spec.replace(resolved=request.to_json())


def visible_image(image_id: Any, services: Services, identity: Identity | None) -> tuple[Image, Identity]:
    """Return an image that exists for the caller, and the caller.

    :raises Unauthorized: there must be an identity and there is none (C4)
    :raises NotFound: there is no such image, it is deleted, or it is another project's private one (C3)
    """
    caller = services.policy.caller(identity)
    if not isinstance(image_id, str) or not image_id:
        raise errors.BadRequest("image_id: name the image.")
    image = services.db.images.get(image_id)
    if image.gone or not services.policy.sees(image, caller):
        raise errors.NotFound(f"there is no image {image_id}.")
    return image, caller


def check_formats(image: Image, before: str) -> None:
    """Refuse an image whose formats are not set, whatever its data is (C2).

    :param before: names what they must be set before
    :raises Conflict: naming the one that is not set
    """
    for name in ("container_format", "disk_format"):
        if not getattr(image, name):
            raise errors.Conflict(f"the {name} of image {image.id} must be set before {before}.")


def check_pending(image_id: str, services: Services, identity: Identity | None) -> None:
    """Refuse to restore what cannot be restored (R4); only who may do everything restores.

    :raises Unauthorized, Forbidden: the caller is not an administrator
    :raises NotFound: there is no image of this id
    :raises Conflict: it is not pending
    """
    caller = services.policy.caller(identity)
    if not services.policy.is_admin(caller):
        raise errors.Forbidden("only an administrator restores images.")
    try:
        image = services.db.images.get(image_id)
    except errors.NotFound as failure:
        raise errors.NotFound(f"No image found with ID {image_id}") from failure
    if image.status != states.PENDING_DELETE:
        raise errors.Conflict(
            f"cannot restore the image from {image.status} to active (wanted from_state=pending_delete)"
        )


def _check_shape(asked: Asked) -> None:
    if asked.all_stores is not None and not isinstance(asked.all_stores, bool):
        raise errors.BadRequest("all_stores: must be true or false.")
    if asked.stores is not None:
        names = asked.stores
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise errors.BadRequest("stores: must be a list of names of stores, at least one.")
        if len(set(names)) != len(names):
            raise errors.BadRequest("stores: a store is named twice.")
        if asked.all_stores:
            raise errors.BadRequest("stores: give either stores or all_stores, not both.")
    if asked.uri is not None and not isinstance(asked.uri, str):
        raise errors.BadRequest("uri: must be a string.")
    if asked.parameters is not None and not isinstance(asked.parameters, Mapping):
        raise errors.BadRequest("parameters: must be an object.")


def _must_succeed(asked: Asked) -> bool:
    must, may_fail = asked.all_stores_must_succeed, asked.allow_failure
    for name, value in (("all_stores_must_succeed", must), ("allow_failure", may_fail)):
        if value is not None and not isinstance(value, bool):
            raise errors.BadRequest(f"{name}: must be true or false.")
    if must is not None and may_fail is not None and must == may_fail:
        raise errors.BadRequest("allow_failure: contradicts all_stores_must_succeed.")
    return bool(must if must is not None else not may_fail)


def _method(name: Any, services: Services) -> ImportMethod:
    known = ", ".join(services.methods)
    if not isinstance(name, str) or not name:
        raise errors.BadRequest(f"method: name one of: {known}.")
    if name not in services.methods:
        raise errors.BadRequest(f"method: {name!r} is not enabled; there are: {known}.")
    return services.methods[name]


def _check_image(image: Image, method: ImportMethod) -> None:
    if image.status not in method.statuses:
        wanted = " or ".join(sorted(method.statuses))
        raise errors.Conflict(f"image {image.id} is {image.status}; {method.name} needs it to be {wanted}.")
    check_formats(image, "the import")


def _stores(asked: Asked, image: Image, method: ImportMethod, services: Services) -> tuple[str, ...]:
    copying = states.ACTIVE in method.statuses
    held = set(image.stores)
    if asked.all_stores:
        return _all_stores(held if copying else set(), copying, services)
    if asked.stores is None and copying:
        raise errors.BadRequest("stores: name the stores to copy to, or all_stores.")
    wanted = asked.stores or [services.stores.default]
    for name in wanted:
        if name.startswith(states.RESERVED_PREFIX):
            raise errors.BadRequest(f"stores: {name} is reserved.")
        store = services.stores.get(name)
        if store.trouble is not None:
            raise errors.StoreUnavailable(f"the store {name} takes no images for now: {store.trouble}.")
        if store.read_only:
            raise errors.BadRequest(f"stores: {name} is read-only.")
        if name in held:
            raise errors.BadRequest(f"stores: {name} already has image {image.id}.")
    return tuple(wanted)


def _all_stores(held: set[str], copying: bool, services: Services) -> tuple[str, ...]:
    """Return every store that is to get the image; none where a copy finds that all of them have it."""
    if copying and held and services.conf.glance_flows.copy_image_all_stores == "reject":
        raise errors.BadRequest("all_stores: some stores already have the image; name those that are to get it.")
    wanted = tuple(store.name for store in services.stores if not store.read_only and store.name not in held)
    if not wanted and not copying:
        raise errors.BadRequest("all_stores: there is no store that takes images.")
    return wanted
