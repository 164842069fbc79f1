# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m website``: put what the site is made of into build/docs, for MkDocs to build.

That is docs/, pages of the repository's root, and pages made from the code. MkDocs needs no hooks
for it, nor will its successors. Each reference that is made from the code has an ``index.md`` in
docs/, so that links to it resolve in the sources, too; its sections become pages of their own.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from website.catalogue_page import catalogue_pages, catalogue_table
from website.command_page import commands_page
from website.model_page import models_page
from website.notebook_page import notebook_page

_ROOT = Path(__file__).parent.parent
_OUT = _ROOT / "build" / "docs"
#: Pages of the root, and what they are called in the site.
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_LINK_TO_DOCS = re.compile(r"\]\(docs/")
#: A heading below the first level; code has no line that begins so.
_HEADING = re.compile(r"^#(#+ )", re.MULTILINE)

#: Which models share a page.
_COMPOSITIONS = ("stripe", "mirror", "raid5", "raid6", "concatenation", "cache", "perturb")


def main() -> None:
    """Write the directory anew."""
    shutil.rmtree(_OUT, ignore_errors=True)
    shutil.copytree(_ROOT / "docs", _OUT)
    for source, path in ROOT_PAGES.items():
        text = (_ROOT / source).read_text()
        (_OUT / path).write_text(_LINK_TO_DOCS.sub("](", text))
    reference = _OUT / "reference"
    for folder, pages in generated_pages().items():
        write_pages(reference / folder, pages)
    write_pages(reference / "catalogue", catalogue_pages(), catalogue_table())
    page, figures = notebook_page()
    with (_OUT / "notebooks" / "index.md").open("a") as index:
        index.write(f"\n{page}")
    for name, content in figures.items():
        (_OUT / "notebooks" / name).write_bytes(content)


def generated_pages() -> dict[str, dict[str, str]]:
    """Return the reference's pages that the code says, by folder and by name."""
    return {
        "models": pages_of(models_page(), _model_page),
        "commands": pages_of(commands_page(), _command_page),
    }


def _model_page(heading: str) -> str:
    return "compositions" if heading in _COMPOSITIONS else heading


def _command_page(heading: str) -> str:
    return heading.strip("`").split()[-1]


def pages_of(text: str, page_name: Callable[[str], str]) -> dict[str, str]:
    """Split a text at its headings of the second level into pages, by name, each with a title.

    Sections to which ``page_name`` gives one name share a page of that title. What stands in front
    of the first heading is left out: ``index.md`` says it.
    """
    sections: dict[str, list[str]] = {}
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0].removeprefix("## ")
        sections.setdefault(page_name(heading), []).append(section)
    return {
        name: _HEADING.sub(r"\1", part[0]) if len(part) == 1 else f"# {name}\n\n{''.join(part)}"
        for name, part in sections.items()
    }


def write_pages(directory: Path, pages: Mapping[str, str], contents: str | None = None) -> None:
    """Write pages beside their ``index.md``, and a list of them, unless given, to its end."""
    for name, page in pages.items():
        (directory / f"{name}.md").write_text(page)
    if contents is None:
        titles = {name: page.splitlines()[0][2:] for name, page in pages.items()}
        contents = "\n".join(f"- [{title}]({name}.md)" for name, title in titles.items())
    with (directory / "index.md").open("a") as index:
        index.write(f"\n## Pages\n\n{contents}\n")


if __name__ == "__main__":
    main()
