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
from website.__main__ import GENERATED, ROOT_PAGES
from website.markdown import from_docstring
from website.markdown import table as markdown_table
from website.model_page import model_keys
from website.probe import unexplored, watch

from freezingtime.device.parameters import Table
from freezingtime.device.registry import MODELS
from tests.conftest import require_tool, skip
from tests.support.browserlib import Browser
from tests.support.doclib import ROOT, page_names, page_path, read_page

NAV = re.findall(r"([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
MADE = {*GENERATED, *ROOT_PAGES.values()}


def test_every_page_is_in_the_navigation() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(NAV) == pages | MADE, "see mkdocs.yml"
    assert len(NAV) == len(set(NAV))


@pytest.mark.parametrize("page", page_names())
def test_links_lead_somewhere(page: str) -> None:
    """Links within the documentation: the page is there, and so is the heading."""
    for link in links_of(read_page(page)):
        address, _, anchor = link.partition("#")
        if re.match(r"\w+:", address):
            continue
        target = (page_path(page).parent / address).resolve() if address else page_path(page)
        if target.is_relative_to(ROOT / "docs") and str(target.relative_to(ROOT / "docs")) in MADE:
            continue  # the site's build checks it
        assert target.exists(), f"{page_path(page)}: {link}: there is no {target}"
        if anchor and not target.match("reference/python.md"):
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
    """Raises otherwise, with the file to mend."""
    assert model_keys(model)


def test_what_is_needed_is_known() -> None:
    keys = model_keys("latency")
    assert [path for path, key in keys.items() if key.needed] == [
        *("read", "read.fixed", "write", "write.fixed", "flush.fixed", "discard.fixed"),
    ]
    assert model_keys("disk")["rates"].default == "sustained"
    assert model_keys("flash")["array.channels"].allowed == "1 to 256"


def test_a_model_is_watched_reading() -> None:
    def build(table: Table) -> None:
        table.time_ns("needed", least=1)
        table.integer("count", 4, least=1, most=8)
        if "extra" in table:
            table.size_bytes("extra")
        part = table.sub("part")
        if part is not None:
            part.choice("word", ("a", "b"), "a")
        table.finish()

    content = {"needed": "1us", "part": {}}
    keys = watch(content, build)
    assert {path for path, key in keys.items() if key.needed} == {"needed"}
    assert (keys["count"].default, keys["count"].allowed) == ("4", "1 to 8")
    assert (keys["part.word"].kinds, keys["part.word"].allowed) == (["word"], "a, b")
    assert unexplored(content, keys) == ["extra"]
    assert unexplored({}, watch({"needed": "1us"}, build)) == ["extra", "part"]


def test_docstrings_become_markdown() -> None:
    text = "A :class:`~pathlib.Path` and ``x``, in TOML::\n\n    [a]\n    b = 1\n\nThe end."
    expected = "A `Path` and `x`, in TOML:\n\n```toml\n[a]\nb = 1\n```\n\nThe end."
    assert from_docstring(text) == expected
    assert markdown_table(("a", "b"), [("x|y", "z")]) == ("| a | b |\n| --- | --- |\n| x\\|y | z |")


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
    assert len(pages) == len(NAV) + 1  # and the one for what is not there
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
    commands = (site / "reference" / "commands.html").read_text()
    assert "freezingtime-snapshot-remove" in commands
    assert "--medium-deadline" in commands
    catalogue = (site / "reference" / "catalogue.html").read_text()
    assert 'id="samsung-870-evo-1tb"' in catalogue
    python = (site / "reference" / "python.html").read_text()
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
    assert "reference/models.html" in links
    assert not browser.complaints()
