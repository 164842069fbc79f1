# SPDX-License-Identifier: GPL-2.0-or-later
"""Media: where a disk's bytes are stored.

:mod:`~freezingtime.medium.base` is the interface. Memory and files hold bytes; the overlay
keeps writes away from another medium, and the delay slows one down.
"""
