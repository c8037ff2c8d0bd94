"""How Sphinx makes the site: `python -m sphinx -W -b html docs build/site` (CONTRIBUTING.md)."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

import dbmpi  # noqa: E402  the tree beside this file, installed or not

project = "dbmpi"
author = "dbmpi developers"
version = release = dbmpi.__version__

# pages: where the site is more than the files of docs/, see site/pages.py.
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pages"]
myst_heading_anchors = 4  # links to headings are those of a forge
smartquotes = False  # quotes are part of values
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # the types that docstrings name have no pages

default_role = "code"  # of `words` in docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say them, with shapes
# The estimators are described also where scikit-learn is not installed.
autodoc_mock_imports = [] if importlib.util.find_spec("sklearn") else ["sklearn"]

html_theme = "furo"
html_title = f"dbmpi {release}"
html_copy_source = False
