# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a run in other tools' formats.

A format is one module: it turns the columns of one disk's requests into chunks of the file.
"""
