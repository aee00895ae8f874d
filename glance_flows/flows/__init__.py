"""The flows: each composes small tasks, does no I/O, and reads from top to bottom."""

from glance_flows.flows.delete import delete_image
from glance_flows.flows.image_import import copy_image, import_image

__all__ = ["copy_image", "delete_image", "import_image"]
