# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of four instructions in a machine of KVM's: it reads its cycle counter and leaves.

Numbers and layouts are those of Linux's ``<linux/kvm.h>``, on x86-64.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Final

KVM_PATH: Final = "/dev/kvm"

_CREATE_VM: Final = 0xAE01
_CHECK_EXTENSION: Final = 0xAE03
_GET_VCPU_MMAP_SIZE: Final = 0xAE04
_CREATE_VCPU: Final = 0xAE41
_SET_TSS_ADDR: Final = 0xAE47
_RUN: Final = 0xAE80
_GET_TSC_KHZ: Final = 0xAEA3
_SET_USER_MEMORY_REGION: Final = 0x4020AE46
_SET_REGS: Final = 0x4090AE82
_GET_SREGS: Final = 0x8138AE83
_SET_SREGS: Final = 0x4138AE84
_SET_DEVICE_ATTR: Final = 0x4018AEE1
_HAS_DEVICE_ATTR: Final = 0x4018AEE3

_CAP_IMMEDIATE_EXIT: Final = 136
_EXIT_IO: Final = 2
_EXIT_REASON_AT: Final = 8
_TSC_CTRL, _TSC_OFFSET = 0, 0

_CODE_AT, _COUNTER_AT, _MEMORY_BYTES = 0x1000, 0x1800, 0x2000
_TSS_AT: Final = 0x7FFB_D000  # where nothing else is
_SREGS_BYTES: Final = 312

#: Real mode: rdtsc; mov %eax, 0x1800; mov %edx, 0x1804; out %al, $0x10; jmp to the start.
_CODE: Final = bytes.fromhex("0f31 66a30018 6689160418 e610 ebf1")


class TinyGuest:
    """A machine with it. A context manager: the machine is gone with the block.

    Whatever KVM refuses raises OSError.
    """

    def __init__(self) -> None:
        self._cleanup = contextlib.ExitStack()
        with contextlib.ExitStack() as on_error:
            on_error.push(self._cleanup)
            self._kvm = self._open(os.open(KVM_PATH, os.O_RDWR | os.O_CLOEXEC))
            self._make()
            on_error.pop_all()

    def __enter__(self) -> TinyGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def leaves_at_once(self) -> bool:
        """Whether KVM can be had to come back before it executes the guest."""
        return fcntl.ioctl(self._kvm, _CHECK_EXTENSION, _CAP_IMMEDIATE_EXIT) > 0

    @property
    def has_offset(self) -> bool:
        """Whether KVM knows an offset of the cycle counter."""
        try:
            fcntl.ioctl(self._vcpu, _HAS_DEVICE_ATTR, struct.pack("<IIQQ", 0, _TSC_CTRL, 0, 0))
        except OSError:
            return False
        return True

    @property
    def tsc_khz(self) -> int:
        """Frequency of its cycle counter."""
        return fcntl.ioctl(self._vcpu, _GET_TSC_KHZ, 0)

    def set_offset(self, offset: int) -> None:
        """Set what its counter is ahead of the host's, in cycles modulo 2**64."""
        place = mmap.mmap(-1, mmap.PAGESIZE)
        place[:8] = struct.pack("<Q", offset % (1 << 64))
        with place, _address_of(place) as address:
            attribute = struct.pack("<IIQQ", 0, _TSC_CTRL, _TSC_OFFSET, address)
            fcntl.ioctl(self._vcpu, _SET_DEVICE_ATTR, attribute)

    def read_counter(self) -> int:
        """Have the guest read its counter; return what it read.

        Raises:
            OSError: KVM did not execute it.
        """
        fcntl.ioctl(self._vcpu, _RUN, 0)
        (reason,) = struct.unpack_from("<I", self._run, _EXIT_REASON_AT)
        if reason != _EXIT_IO:
            raise OSError(f"it left with reason {reason}")
        (counter,) = struct.unpack_from("<Q", self._memory, _COUNTER_AT)
        return int(counter)

    def _open(self, fd: int) -> int:
        self._cleanup.callback(os.close, fd)
        return fd

    def _make(self) -> None:
        vm = self._open(fcntl.ioctl(self._kvm, _CREATE_VM, 0))
        self._memory = self._cleanup.enter_context(mmap.mmap(-1, _MEMORY_BYTES))
        self._memory[_CODE_AT : _CODE_AT + len(_CODE)] = _CODE
        address = self._cleanup.enter_context(_address_of(self._memory))
        fcntl.ioctl(vm, _SET_TSS_ADDR, _TSS_AT)
        region = struct.pack("<IIQQQ", 0, 0, 0, _MEMORY_BYTES, address)
        fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, region)
        self._vcpu = self._open(fcntl.ioctl(vm, _CREATE_VCPU, 0))
        run_bytes = fcntl.ioctl(self._kvm, _GET_VCPU_MMAP_SIZE, 0)
        self._run = self._cleanup.enter_context(mmap.mmap(self._vcpu, run_bytes))
        self._start_at_code()

    def _start_at_code(self) -> None:
        segments = bytearray(_SREGS_BYTES)
        fcntl.ioctl(self._vcpu, _GET_SREGS, segments)
        struct.pack_into("<QIH", segments, 0, 0, 0xFFFF, 0)  # cs: base, limit, selector
        fcntl.ioctl(self._vcpu, _SET_SREGS, bytes(segments))
        registers = [0] * 18
        registers[16], registers[17] = _CODE_AT, 2  # rip, rflags
        fcntl.ioctl(self._vcpu, _SET_REGS, struct.pack("<18Q", *registers))


@contextlib.contextmanager
def _address_of(memory: mmap.mmap) -> Iterator[int]:
    """Where a mapping is; while it is asked, it cannot be closed."""
    view = ctypes.c_char.from_buffer(memory)
    try:
        yield ctypes.addressof(view)
    finally:
        del view
