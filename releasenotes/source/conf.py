from importlib import metadata

project = "glance-flows release notes"
author = "OpenStack"
copyright = "the glance-flows authors"
release = version = metadata.version("glance-flows")

extensions = ["reno.sphinxext"]
html_theme = "furo"
