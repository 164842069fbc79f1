# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation site: it is whole, needs no other host, and works from disk in a browser."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from website.__main__ import ROOT_PAGES, generated_pages, pages_of
from website.markdown import from_docstring
from website.markdown import table as markdown_table
from website.model_page import models_page

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.registry import MODELS, declared_parameters
from freezingtime.device.schema import walk
from freezingtime.option import list_options
from freezingtime.runs.options import RunOptions
from tests.conftest import require_tool, skip
from tests.support.browserlib import Browser
from tests.support.doclib import ROOT, page_names, page_path, read_page

NAV = re.findall(r"^ +- (?:.*: )?([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
#: Folders in which the site's build puts pages beside ``index.md``; what it warns of is an error.
GENERATED = re.compile(r"reference/(?:commands|models)/(?!index\.md)")
#: What a reader scrolls through at most.
LINES_MAX = 260
#: Files of a folder that a reader still overlooks.
FILES_MAX = 15


def test_every_page_is_in_the_navigation() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    written = {page for page in NAV if not GENERATED.match(page)}
    assert written == pages | set(ROOT_PAGES.values()), "see mkdocs.yml"
    assert len(NAV) == len(set(NAV))


def test_every_generated_page_is_in_the_navigation() -> None:
    generated = {
        f"reference/{folder}/{name}.md"
        for folder, pages in generated_pages().items()
        for name in pages
    }
    assert {page for page in NAV if GENERATED.match(page)} == generated, "see mkdocs.yml"


def test_pages_are_short_and_folders_small() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / "docs").rglob("*.md")}
    assert not [str(path) for path, number in lines.items() if number > LINES_MAX]
    folders = [ROOT / "docs", *(path for path in (ROOT / "docs").rglob("*") if path.is_dir())]
    for folder in folders:
        assert sum(path.is_file() for path in folder.iterdir()) <= FILES_MAX, folder


@pytest.mark.parametrize("page", page_names())
def test_links_lead_somewhere(page: str) -> None:
    """Links within the documentation: the page is there, and so is the heading."""
    for link in links_of(read_page(page)):
        address, _, anchor = link.partition("#")
        if re.match(r"\w+:", address):
            continue
        target = (page_path(page).parent / address).resolve() if address else page_path(page)
        assert target.exists(), f"{page_path(page)}: {link}: there is no {target}"
        if anchor:
            assert anchor in anchors_of(target.read_text()), f"{page_path(page)}: {link}"


def links_of(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inner = [child for token in tokens for child in token.children or []]
    names = (child.attrGet("href") or child.attrGet("src") for child in inner)
    return [str(name) for name in names if name]


def anchors_of(text: str) -> set[str]:
    """Of the headings, as both GitHub and MkDocs make them."""
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [
        tokens[number + 1].content
        for number, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text.lower())) for text in headings}


@pytest.mark.parametrize("model", MODELS)
def test_every_key_of_a_model_is_explained(model: str) -> None:
    keys = dict(walk(declared_parameters(model)))
    assert keys
    assert not [path for path, key in keys.items() if not key.text]


def test_what_is_needed_is_known() -> None:
    keys = dict(walk(declared_parameters("latency")))
    assert [path for path, key in keys.items() if key.needed] == [
        *("read", "read.fixed", "write", "write.fixed", "flush.fixed", "discard.fixed"),
    ]
    page = models_page()
    assert "| `rates` | word | media, sustained | `sustained` |" in page
    assert "| **`array.channels`** | whole number | 1 to 256 |" in page


def test_the_page_of_ft_run_lists_the_options_of_a_run() -> None:
    griffe = pytest.importorskip("griffe", reason="griffe is not installed")
    from website.docstrings import Docstrings

    package = griffe.load(
        "freezingtime",
        search_paths=[ROOT / "src"],
        extensions=griffe.load_extensions(Docstrings),
    )
    shown = {each.name: each for each in package["api.runs.run"].parameters}
    disks, *others = list_options(RunOptions)
    assert list(shown) == [disks, "job", *others, "progress"]
    assert (str(shown["cpus"].annotation), shown["cpu_rate"].default) == ("int | None", "'4G'")


def test_docstrings_become_markdown() -> None:
    text = "A :class:`~pathlib.Path` and ``x``, in TOML::\n\n    [a]\n    b = 1\n\nThe end."
    expected = "A `Path` and `x`, in TOML:\n\n```toml\n[a]\nb = 1\n```\n\nThe end."
    assert from_docstring(text) == expected
    assert markdown_table(("a", "b"), [("x|y", "z")]) == ("| a | b |\n| --- | --- |\n| x\\|y | z |")


def test_a_long_page_is_split_at_its_headings() -> None:
    text = "# All\n\n## a\n\none\n\n### part\n\n## b\n\ntwo\n\n## c\n\nthree\n"
    assert pages_of(text, lambda heading: "rest" if heading > "a" else heading) == {
        "a": "# a\n\none\n\n## part\n\n",
        "rest": "# rest\n\n## b\n\ntwo\n\n## c\n\nthree\n",
    }


@pytest.fixture(scope="module")
def site() -> Path:
    """Built strictly: what MkDocs warns of is an error."""
    if importlib.util.find_spec("material") is None:
        skip("mkdocs-material is not installed")
    for command in (["website"], ["mkdocs", "build", "--strict", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


class Resources(HTMLParser):
    """What a page loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get("href") if tag == "link" else values.get("src")
        if address and tag != "a":
            self.addresses.append(address)


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) == len(NAV) + len(catalogue_names()) + 1  # and the one for what is not there
    for page in pages:
        assert "<p>|" not in page.read_text(), f"{page}: a table that is none"
        for address in Resources(page.read_text()).addresses:
            if page.name == "404.html":
                assert not re.match(r"(\w+:)?//", address), address
            else:
                assert (page.parent / address.partition("#")[0]).exists(), f"{page}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )['\"]?(\w+:)?//", style.read_text())


@pytest.mark.slow
def test_the_reference_has_everything(site: Path) -> None:
    reference = site / "reference"
    assert "freezingtime-snapshot-remove" in (reference / "commands" / "snapshot.html").read_text()
    assert "--medium-deadline" in (reference / "commands" / "run.html").read_text()
    assert {path.stem for path in (reference / "catalogue").glob("*.html")} == {
        "index",
        *catalogue_names(),
    }
    models = "".join(path.read_text() for path in (reference / "models").glob("*.html"))
    assert all(f'id="{model}"' in models for model in MODELS)
    python = (reference / "python" / "classes.html").read_text()
    assert 'id="freezingtime.Result.summary"' in python
    assert ":class:" not in python


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(require_tool("chromium"), tmp_path / "profile") as browser:
        yield browser


@pytest.mark.slow
def test_in_a_browser_from_disk(site: Path, browser: Browser) -> None:
    for dark, scheme in ((False, "default"), (True, "slate")):
        browser.open(site / "index.html", dark=dark)
        shown = browser.evaluate("document.body.getAttribute('data-md-color-scheme')")
        assert shown == scheme
        assert not browser.complaints()
        assert all(address.startswith(("file:", "data:")) for address in browser.requested())
        browser.evaluate("localStorage.clear()")


@pytest.mark.slow
def test_search_finds_from_disk(site: Path, browser: Browser) -> None:
    browser.open(site / "index.html")
    browser.evaluate(
        "document.querySelector('[data-md-toggle=search]').click();"
        "const query = document.querySelector('[data-md-component=search-query]');"
        "query.focus(); query.value = 'over_provisioning';"
        "query.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));"
    )
    found = "document.querySelectorAll('.md-search-result__item').length"
    deadline_s = time.monotonic() + 60
    while not browser.evaluate(found):
        assert time.monotonic() < deadline_s, browser.complaints()
        time.sleep(0.2)
    links = browser.evaluate(
        "[...document.querySelectorAll('.md-search-result__link')].map(a => a.href).join()"
    )
    assert "reference/models/flash.html" in links
    assert not browser.complaints()
