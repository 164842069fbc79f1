# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the bytes are.

:mod:`~freezingtime.medium.base` is the interface. Memory and files hold bytes; the overlay
keeps writes away from another medium, and the delay slows one down.
"""
