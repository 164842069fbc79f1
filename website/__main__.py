# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m website``: put what the site is made of into build/docs, for MkDocs to build.

That is docs/, pages of the repository's root, and pages made from the code. MkDocs needs no hooks
for it, nor will its successors.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from website.catalogue_page import catalogue_page
from website.command_page import commands_page
from website.model_page import models_page

_ROOT = Path(__file__).parent.parent
_OUT = _ROOT / "build" / "docs"
GENERATED = {
    "reference/commands.md": commands_page,
    "reference/models.md": models_page,
    "reference/catalogue.md": catalogue_page,
}
#: Pages of the root, and what they are called in the site.
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_LINK_TO_DOCS = re.compile(r"\]\(docs/")


def main() -> None:
    """Write the directory anew."""
    shutil.rmtree(_OUT, ignore_errors=True)
    shutil.copytree(_ROOT / "docs", _OUT)
    for source, path in ROOT_PAGES.items():
        text = (_ROOT / source).read_text()
        (_OUT / path).write_text(_LINK_TO_DOCS.sub("](", text))
    for path, page in GENERATED.items():
        (_OUT / path).write_text(page())


if __name__ == "__main__":
    main()
