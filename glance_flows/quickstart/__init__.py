"""``glance-flows quickstart``: a folder with everything in it, and one image taken through import and copy."""

from glance_flows.quickstart.folder import Folder
from glance_flows.quickstart.tour import Guide, Result, take

__all__ = ["Folder", "Guide", "Result", "take"]
