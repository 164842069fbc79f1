# SPDX-License-Identifier: GPL-2.0-or-later
"""The mapping cache's contents: which translation pages are in memory, by last use. Compiled."""

from __future__ import annotations

from freezingtime.device.flash.kernel_compiler import inner
from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.layout import NONE, Residence


@inner
def note_change(ssd: int, unit: int) -> None:
    """The unit's place has changed otherwise than by a write: if its page is here, it is dirty.

    If it is not, the change stays with the block's own summary, which takes no time.
    """
    config = memory.config(ssd)
    if config.cached_pages_max and unit < config.host_units:
        page = memory.translations(ssd)[unit // config.translation_entries]
        page.dirty |= page.residence != Residence.FLASH


@inner
def insert(ssd: int, page_id: int) -> None:
    """Keep a page, as the one used last; there must be room."""
    ftl = memory.ftl(ssd)
    memory.translations(ssd)[page_id].residence = Residence.CACHED
    ftl.cached_pages += 1
    _link_newest(ssd, page_id)


@inner
def use(ssd: int, page_id: int) -> None:
    """Note that a page that is here was used."""
    if memory.ftl(ssd).newest_page != page_id:
        _unlink(ssd, page_id)
        _link_newest(ssd, page_id)


@inner
def remove_oldest(ssd: int) -> int:
    """Give up the page that was used least recently, which is returned."""
    ftl = memory.ftl(ssd)
    page_id = ftl.oldest_page
    _unlink(ssd, page_id)
    ftl.cached_pages -= 1
    memory.translations(ssd)[page_id].residence = Residence.FLASH
    return int(page_id)


@inner
def _link_newest(ssd: int, page_id: int) -> None:
    ftl = memory.ftl(ssd)
    pages = memory.translations(ssd)
    page = pages[page_id]
    page.newer = NONE
    page.older = ftl.newest_page
    if page.older == NONE:
        ftl.oldest_page = page_id
    else:
        pages[page.older].newer = page_id
    ftl.newest_page = page_id


@inner
def _unlink(ssd: int, page_id: int) -> None:
    ftl = memory.ftl(ssd)
    pages = memory.translations(ssd)
    page = pages[page_id]
    if page.newer == NONE:
        ftl.newest_page = page.older
    else:
        pages[page.newer].older = page.older
    if page.older == NONE:
        ftl.oldest_page = page.newer
    else:
        pages[page.older].newer = page.newer
