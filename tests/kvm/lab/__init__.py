# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that has KVM, emulated to the instruction: the lab.

QEMU's TCG emulates AMD's virtualisation with nested paging well enough for a real kvm.ko. Under
icount one instruction takes one nanosecond there, so what KVM costs and what leaks into a guest's
time can be measured, whatever host this runs on. The outer machine is made of Debian's packages
and runs this very checkout; nothing in it comes over the host's file system.

All is on disk images. The one with Debian, the product's dependencies and the QEMUs is kept in
the cache (:mod:`.image`); one with the product is made for each run, and a third takes the results
along (:mod:`.machine`).
"""
