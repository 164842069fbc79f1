# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's block layer tells of requests, by several tools, as traces and latencies."""
