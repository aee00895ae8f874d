"""Placement: what a run needs of a host, and which hosts have it (F5)."""

import os
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from glance_flows import states
from glance_flows.flow import FlowSpec
from glance_flows.persistence import ConductorRecord, Needs
from glance_flows.services import Services


def needs_of(spec: FlowSpec, services: Services) -> Needs:
    """Return what a host must have to run an admitted flow.

    :param spec: the flow, every choice made
    :param services: of the host that asks; data staged here is known to be here
    """
    image_id = str(spec.arguments.get("image_id", ""))
    held = tuple(dict.fromkeys(place.store for place in services.db.locations.of(image_id) if place.store))
    request = spec.arguments.get("resolved")
    if request is None:
        return Needs(stores=held)
    staged = _staged_at(image_id, services) if request["status"] == states.UPLOADING else ""
    reads = request["status"] == states.ACTIVE
    return Needs(tuple(request["stores"]), held if reads else (), request["method"], staged)


def unmet(
    needs: Needs,
    host: str,
    stores: Iterable[str],
    methods: Iterable[str],
    *,
    staged: Callable[[], bool] = lambda: False,
) -> str | None:
    """Tell what a host lacks to run something; None if nothing.

    :param staged: tells whether the data that waits in another host's staging area is to be seen from here, too
    """
    have = set(stores)
    missing = [name for name in needs.stores if name not in have]
    if missing:
        return f"the store {missing[0]}"
    if needs.sources and not have.intersection(needs.sources):
        return f"a store to read from: {' or '.join(needs.sources)}"
    if needs.method and needs.method not in set(methods):
        return f"the import method {needs.method}"
    if needs.staged and needs.staged != host and not staged():
        return f"the staging area of {needs.staged}"
    return None


def waits_for(needs: Needs, alive: list[ConductorRecord]) -> str:
    """Tell why a posted run waits.

    :param alive: the conductors that are at work
    """
    if not alive:
        return "no conductor is alive; start one with: glance-flows conductor"
    lacking = {unmet(needs, each.host, each.stores, each.methods) for each in alive}
    if None in lacking:
        return "a conductor that has room for it, or that refused it a moment ago: its log says why"
    return f"no conductor that is alive has {', nor '.join(sorted(str(what) for what in lacking))}"


def _staged_at(image_id: str, services: Services) -> str:
    """Return the host in whose staging area an image's data waits; empty if nobody says."""
    if os.path.lexists(services.staging.path(image_id)):
        return services.host
    url = services.db.images.get(image_id).properties.get(states.STAGE_HOST, "")
    return urlsplit(url).hostname or ""
