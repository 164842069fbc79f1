# SPDX-License-Identifier: GPL-2.0-or-later
"""The mapping cache's contents: which translation pages are in memory, by last use. Compiled."""

from __future__ import annotations

from numba import njit

from freezingtime.device.flash.kernels import memory
from freezingtime.device.flash.layout import NONE, Residence


@njit()
def note_change(ssd: int, unit: int) -> None:
    """The unit's place has changed otherwise than by a write: if its page is here, it is dirty.

    If it is not, the change stays with the block's own summary, which takes no time.
    """
    config = memory.config(ssd)
    if config.cached_pages_max and unit < config.host_units:
        page = memory.translations(ssd)[unit // config.translation_entries]
        page.dirty |= page.residence != Residence.FLASH


@njit()
def insert(ssd: int, page_id: int) -> None:
    """Keep a page, as the one used last; there must be room."""
    totals = memory.totals(ssd)
    memory.translations(ssd)[page_id].residence = Residence.CACHED
    totals.cached_pages += 1
    _link_newest(ssd, page_id)


@njit()
def use(ssd: int, page_id: int) -> None:
    """Note that a page that is here was used."""
    if memory.totals(ssd).newest_page != page_id:
        _unlink(ssd, page_id)
        _link_newest(ssd, page_id)


@njit()
def remove_oldest(ssd: int) -> int:
    """Give up the page that was used least recently, which is returned."""
    totals = memory.totals(ssd)
    page_id = totals.oldest_page
    _unlink(ssd, page_id)
    totals.cached_pages -= 1
    memory.translations(ssd)[page_id].residence = Residence.FLASH
    return int(page_id)


@njit()
def _link_newest(ssd: int, page_id: int) -> None:
    totals = memory.totals(ssd)
    page = memory.translations(ssd)[page_id]
    page.newer = NONE
    page.older = totals.newest_page
    if page.older == NONE:
        totals.oldest_page = page_id
    else:
        memory.translations(ssd)[page.older].newer = page_id
    totals.newest_page = page_id


@njit()
def _unlink(ssd: int, page_id: int) -> None:
    totals = memory.totals(ssd)
    page = memory.translations(ssd)[page_id]
    if page.newer == NONE:
        totals.newest_page = page.older
    else:
        memory.translations(ssd)[page.newer].older = page.older
    if page.older == NONE:
        totals.oldest_page = page.newer
    else:
        memory.translations(ssd)[page.older].newer = page.newer
