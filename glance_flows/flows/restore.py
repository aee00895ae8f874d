"""Restoring: a deleted image comes back whole, as long as its data is there."""

from glance_flows.flow import Flow, FlowSpec, flow, series
from glance_flows.flows.admission import check_pending
from glance_flows.identity import Identity
from glance_flows.services import Services
from glance_flows.tasks.restore import LookIntoStores, Revive, TakePending


@flow("image.restore")
def restore_image(image_id: str, *, data_only: bool = False) -> Flow:
    """Bring a ``pending_delete`` image back to ``active``, with its data, properties, tags and members.

    Safe while scrubbers run: whoever takes the image first has it (R8, R9).

    :param image_id: the image
    :param data_only: leave properties, tags and members deleted (R5)
    """
    return series("restore", TakePending(), LookIntoStores(), Revive())


@restore_image.admission
def _admit(spec: FlowSpec, services: Services, identity: Identity | None) -> FlowSpec:
    image_id = str(spec.arguments["image_id"])
    check_pending(image_id, services, identity)
    return spec.replace(data_only=bool(spec.arguments.get("data_only", False)))
