# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of a sweep that help texts have; nothing heavy comes with them."""

from __future__ import annotations

#: A sweep says itself where results go, and saves no machine.
NOT_VARIED = ("out", "save")
#: Keys that are a job: a line of the shell, the file of a script, or a directory.
JOBS = ("command", "script", "job")
#: Instead of the address of a Dask cluster: one that is made here, for one sweep.
DASK_LOCAL = "local"
