# SPDX-License-Identifier: GPL-2.0-or-later
"""What fio writes: iologs, logs of latencies, and JSON."""
