"""Deleting images: at once, or leaving the data to the scrubber."""

from glance_flows.flow import Flow, FlowSpec, flow, series
from glance_flows.flows.admission import visible_image
from glance_flows.identity import Identity
from glance_flows.services import Services
from glance_flows.tasks.deletion import Bury, Condemn, RemoveData, RemoveStaged


@flow("image.delete")
def delete_image(image_id: str, *, delayed: bool | None = None) -> Flow:
    """Delete an image.

    A flow that is at work on the image notices, stops and undoes what it did (C15): deleting waits for nobody.

    :param image_id: the image
    :param delayed: leave the data to the scrubber; by default as ``delayed_delete`` says (S1, S2)
    """
    if delayed:
        return series("delete", Condemn(), RemoveStaged())
    return series("delete", Condemn(), RemoveData(), Bury())


@delete_image.admission
def _admit(spec: FlowSpec, services: Services, identity: Identity | None) -> FlowSpec:
    image, caller = visible_image(str(spec.arguments["image_id"]), services, identity)
    services.policy.allow("delete_image", image, caller)
    services.policy.refuse_protected(image)
    delayed = spec.arguments.get("delayed")
    return spec.replace(delayed=services.conf.delayed_delete if delayed is None else delayed)
