# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation site: pages made from the code, and what MkDocs needs to build it."""
