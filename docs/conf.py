"""The documentation site: `pip install -e '.[docs]' && sphinx-build -W docs build/docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sdd_core import __version__

project = "sdd"
author = "the authors of sdd"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "docstrings",
    "plugin_pages",
    "command_pages",
    "notebook_pages",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_ext", "**/README.md"]

html_theme = "furo"
html_title = f"sdd {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
# Copying a console block takes its commands, without the prompt and what they print.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

smartquotes_action = "D"  # dashes alone
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
