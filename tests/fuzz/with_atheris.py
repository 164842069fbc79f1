# SPDX-License-Identifier: GPL-2.0-or-later
"""One decoder under atheris: ``python -m tests.fuzz.with_atheris TARGET [LIBFUZZER'S OPTIONS]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["freezingtime"]):
    from tests.fuzz.decoders import DECODERS


def main() -> None:
    """Fuzz, until libFuzzer ends the process."""
    target = sys.argv.pop(1)
    atheris.Setup(sys.argv, DECODERS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
