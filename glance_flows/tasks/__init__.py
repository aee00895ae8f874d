"""Small revertable tasks. They never import a service: they name what they need and are handed it."""

from glance_flows.tasks.data import AdoptStaged, Pin, Source, Stage, StageFromStore
from glance_flows.tasks.deletion import Bury, Condemn, RemoveData, RemoveStaged
from glance_flows.tasks.record import Begin, Lock, Publish, Survey, Unlock, Unstage
from glance_flows.tasks.upload import Tally, Upload

__all__ = [
    "AdoptStaged",
    "Begin",
    "Bury",
    "Condemn",
    "Lock",
    "Pin",
    "Publish",
    "RemoveData",
    "RemoveStaged",
    "Source",
    "Stage",
    "StageFromStore",
    "Survey",
    "Tally",
    "Unlock",
    "Unstage",
    "Upload",
]
