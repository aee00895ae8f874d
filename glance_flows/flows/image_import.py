"""Importing and copying images: one composition, whatever the method."""

from collections.abc import Mapping, Sequence
from typing import Any

from glance_flows import methods
from glance_flows.flow import Flow, FlowSpec, flow, lanes, series
from glance_flows.flows.admission import Asked, admit_import
from glance_flows.identity import Identity
from glance_flows.request import ImportRequest
from glance_flows.services import Services
from glance_flows.tasks.data import Pin
from glance_flows.tasks.record import Begin, Lock, NothingToDo, Publish, Survey, Unlock, Unstage
from glance_flows.tasks.upload import Tally, Upload

COPY_METHOD = "copy-image"


@flow("image.import")
def import_image(
    image_id: str,
    *,
    method: str,
    stores: Sequence[str] | None = None,
    all_stores: bool = False,
    uri: str | None = None,
    all_stores_must_succeed: bool | None = None,
    allow_failure: bool | None = None,
    parameters: Mapping[str, Any] | None = None,
    resolved: Mapping[str, Any] | None = None,
) -> Flow:
    """Import data into an image by an import method and put it into stores.

    :param image_id: the image, in the status that the method needs (C2)
    :param method: name of an enabled import method
    :param stores: names of the stores that are to get the data; by default the default store
    :param all_stores: put it into every store
    :param uri: where the data comes from, for methods that fetch it
    :param all_stores_must_succeed: whether one failing store fails the import; by default it does (C12, C13)
    :param allow_failure: the same the other way round (C8)
    :param parameters: whatever else the method takes
    :param resolved: filled in when the request is admitted
    """
    return _compose(resolved)


@flow("image.import")
def copy_image(
    image_id: str,
    to: Sequence[str] | None = None,
    *,
    all_stores: bool = False,
    all_stores_must_succeed: bool | None = None,
    allow_failure: bool | None = None,
    resolved: Mapping[str, Any] | None = None,
) -> Flow:
    """Copy an active image to more stores.

    :param image_id: the image
    :param to: names of the stores that are to get a copy (C1)
    :param all_stores: copy to every store that lacks the image (C8)
    :param all_stores_must_succeed: whether one failing store fails the copy; by default it does (C12, C13)
    :param allow_failure: the same the other way round (C8)
    :param resolved: filled in when the request is admitted
    """
    return _compose(resolved)


def _compose(resolved: Mapping[str, Any] | None) -> Flow:
    if resolved is None:
        raise ValueError("an import is built after it was admitted: the runner does both")
    request = ImportRequest.from_json(resolved)
    outcomes = [f"outcome_{number:04d}" for number, _ in enumerate(request.stores)]
    uploads = [Upload(store, outcome) for store, outcome in zip(request.stores, outcomes, strict=True)]
    if not request.stores:
        return series("import", NothingToDo())
    method = methods.get(request.method)
    return series(
        "import",
        Survey(method.check),
        Lock(),
        Begin(),
        *method.tasks(request),
        Pin(),
        lanes("uploads", request.lanes, list(uploads)),
        Tally(outcomes),
        Publish(),
        Unstage(),
        Unlock(),
    )


@import_image.admission
def _admit_import(spec: FlowSpec, services: Services, identity: Identity | None) -> FlowSpec:
    return admit_import(spec, Asked(**{name: spec.plain().get(name) for name in Asked.FIELDS}), services, identity)


@copy_image.admission
def _admit_copy(spec: FlowSpec, services: Services, identity: Identity | None) -> FlowSpec:
    given = spec.plain()
    fields = {name: given.get(name) for name in Asked.FIELDS}
    asked = Asked(**{**fields, "method": COPY_METHOD, "stores": given.get("to")})
    return admit_import(spec, asked, services, identity)
