"""Sphinx: `make docs` builds without warnings."""

project = "pyjet"
author = "the pyjet developers"
copyright = "2026, the pyjet developers"
release = "0.1.0"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
nitpicky = False
suppress_warnings = ["ref.python"]  # BackupResult.bytes is not the type bytes
autodoc_typehints = "description"


def bk(name, rawtext, text, lineno, inliner, options=None, content=None):
    """:bk:`001, 002`: links to rows of the table of behaviours."""
    from docutils import nodes
    from sphinx.addnodes import pending_xref

    found = [nodes.Text("[")]
    for n, number in enumerate(text.split(",")):
        label = f"bk-{number.strip()}"
        link = pending_xref("", reftype="ref", refdomain="std", refexplicit=True, reftarget=label, refdoc=inliner.document.settings.env.docname)
        link += nodes.inline("", f"BK-{number.strip()}")
        found += [nodes.Text(" "), link] if n else [link]
    return [*found, nodes.Text("]")], []


def setup(app):
    app.add_role("bk", bk)
