"""The flows: each composes small tasks, does no I/O, and reads from top to bottom."""

from glance_flows.flows.delete import delete_image
from glance_flows.flows.image_import import copy_image, import_image
from glance_flows.flows.restore import restore_image
from glance_flows.flows.scrub import scrub

__all__ = ["copy_image", "delete_image", "import_image", "restore_image", "scrub"]
