# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's CPU, as one of the levels for which x86-64 software is built.

Levels and their features are those of the System V psABI for x86-64, section 3.1.1
("Micro-Architecture Levels"). RHEL 9 needs v2, RHEL 10 v3; PostgreSQL's CRC-32C and OpenSSL's AES
take their fast paths from v2 on.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from freezingtime.errors import InputError

#: What a QEMU exports whose TCG translates ``cmpxchg16b`` as it does every other comparison. The
#: helper of QEMU 7.2 computes the flags that stay as they are from a stale state: a guest that is
#: interrupted right there, as exact delivery makes likely, may end in a debug trap.
_SOUND_CMPXCHG16B = "helper_atomic_cmpxchgo_le"

# AES and carry-less multiplication are in no level, and in every CPU since there is v2.
_V2 = "+cx16,+lahf_lm,+popcnt,+ssse3,+sse4.1,+sse4.2,+aes,+pclmulqdq"
# xsaveopt, too, is in no level, and in every CPU with AVX: without it Linux 6.1 stops at its start.
_V3 = "+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe,+xsave,+xsaveopt"


class CpuModel(StrEnum):
    """A micro-architecture level of x86-64."""

    V1 = "v1"
    V2 = "v2"
    V3 = "v3"

    @property
    def qemu_argument(self) -> str:
        """Argument of QEMU's ``-cpu``; QEMU refuses features of v2 and v3 that it lacks."""
        return {
            CpuModel.V1: "qemu64,-cx16",
            CpuModel.V2: f"qemu64,{_V2},enforce=on",
            CpuModel.V3: f"qemu64,{_V2},{_V3},enforce=on",
        }[self]


def parse_cpu_model(text: str) -> CpuModel:
    """Parse ``--cpu-model``.

    Raises:
        InputError: there is no such level.
    """
    try:
        return CpuModel(text)
    except ValueError:
        raise InputError(
            f"--cpu-model {text}: must be {', '.join(CpuModel)}, a level of x86-64"
        ) from None


def require_sound_cpu(model: CpuModel, qemu: Path) -> None:
    """Require a QEMU that emulates the level without known faults.

    Raises:
        InputError: it does not.
    """
    if model is CpuModel.V1:
        return
    with qemu.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym")
        is_sound = isinstance(symbols, SymbolTableSection) and symbols.get_symbol_by_name(
            _SOUND_CMPXCHG16B
        )
    if not is_sound:
        raise InputError(
            f"--cpu-model {model}: {qemu} leaves wrong flags behind cmpxchg16b, an instruction of "
            "v2 and v3; use v1, or QEMU 10 or later with --qemu"
        )
