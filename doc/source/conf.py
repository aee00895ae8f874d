from importlib import metadata

project = "glance-flows"
author = "OpenStack"
copyright = "the glance-flows authors"
release = version = metadata.version("glance-flows")

extensions = [
    "sphinx.ext.autodoc",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "cliff.sphinxext",
]
exclude_patterns: list[str] = []
nitpicky = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autoprogram_cliff_application = "glance-flows"

html_theme = "furo"
html_title = f"glance-flows {release}"

# The options and commands in these pages are generated, here and in the HTML alike.
man_pages = [
    ("reference/commands", "glance-flows", "work on Glance images as flows", author, 1),
    ("reference/glance-scrubber", "glance-scrubber", "remove the data of deleted images", author, 1),
    ("reference/configuration", "glance-flows.conf", "options of glance-flows", author, 5),
]
