import pathlib
from importlib import metadata

project = "glance-flows release notes"
author = "OpenStack"
copyright = "the glance-flows authors"
release = version = metadata.version("glance-flows")

extensions = ["reno.sphinxext"]
html_theme = "furo"

# Which note belongs to which release is read from the history; an archive or a shallow clone has none.
_git = pathlib.Path(__file__).resolve().parents[2] / ".git"
_pages = ["index", "without-history"]
root_doc = _pages[0] if _git.exists() and not (_git / "shallow").exists() else _pages[1]
exclude_patterns = [f"{page}.rst" for page in _pages if page != root_doc]
