# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes into an initramfs: the archive itself, kernel modules, libraries and stubs."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from freezingtime.errors import RunError
from freezingtime.images.mini.initramfs import Initramfs
from freezingtime.images.mini.kernel_modules import (
    ModuleTree,
    modules_alias,
    modules_dep,
    read_modinfo,
)
from freezingtime.images.mini.shared_libraries import (
    WantedSymbol,
    exported_names,
    library_closure,
    needed_sonames,
    wanted_symbols,
)
from freezingtime.images.mini.stub_library import elf_hash, stub_library

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="stubs hold x86-64 machine code"
)


class TestArchive:
    def small_tree(self) -> Initramfs:
        image = Initramfs()
        image.add_file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
        image.add_file("empty", b"")
        image.add_symlink("bin", "usr/bin")
        image.add_directory("root", 0o700)
        return image

    def test_is_what_cpio_understands(self, tmp_path: Path) -> None:
        if shutil.which("cpio") is None:
            pytest.skip("no cpio")
        command = ["cpio", "--extract", "--quiet"]
        subprocess.run(command, input=self.small_tree().to_bytes(), cwd=tmp_path, check=True)
        assert (tmp_path / "usr/bin/tool").read_bytes() == b"#!/bin/sh\n"
        assert stat.S_IMODE((tmp_path / "usr/bin/tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
        assert (tmp_path / "bin").readlink() == Path("usr/bin")
        assert (tmp_path / "empty").read_bytes() == b""

    def test_members_are_sorted_with_parents_first_and_end_with_the_trailer(self) -> None:
        names = [name for name, _, _ in members(self.small_tree().to_bytes())]
        assert names == ["bin", "empty", "root", "usr", "usr/bin", "usr/bin/tool", "TRAILER!!!"]

    def test_nothing_depends_on_the_order_of_adding_or_the_time(self) -> None:
        image = Initramfs()
        image.add_directory("root", 0o700)
        image.add_symlink("bin", "usr/bin")
        image.add_file("empty", b"")
        image.add_file("usr/bin/tool", b"#!/bin/sh\n", 0o755)
        assert image.to_bytes() == self.small_tree().to_bytes()

    def test_everything_is_owned_by_root_and_has_time_zero(self) -> None:
        for _, fields, _ in members(self.small_tree().to_bytes()):
            user, group, mtime = fields[2], fields[3], fields[5]
            assert (user, group, mtime) == (0, 0, 0)

    def test_the_same_name_twice_is_refused(self) -> None:
        image = self.small_tree()
        with pytest.raises(ValueError, match="empty is in the initramfs already"):
            image.add_file("empty", b"x")

    def test_a_file_cannot_be_a_parent(self) -> None:
        with pytest.raises(ValueError, match="empty is in the initramfs already and is no dir"):
            self.small_tree().add_file("empty/child", b"")

    @pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a//b", "a/", ".", ""])
    def test_names_are_plain_and_relative(self, name: str) -> None:
        with pytest.raises(ValueError, match="not a plain relative path"):
            Initramfs().add_file(name, b"")


def members(archive: bytes) -> list[tuple[str, list[int], bytes]]:
    """Name, header fields and content of each member, read by the format's description."""
    found, position = [], 0
    while position < len(archive):
        assert archive[position : position + 6] == b"070701"
        digits = archive[position + 6 : position + 110].decode()
        fields = [int(digits[start : start + 8], 16) for start in range(0, 104, 8)]
        name_bytes, data_bytes = fields[11], fields[6]
        name = archive[position + 110 : position + 110 + name_bytes - 1].decode()
        start = -(-(position + 110 + name_bytes) // 4) * 4
        found.append((name, fields, archive[start : start + data_bytes]))
        position = -(-(start + data_bytes) // 4) * 4
    return found


class TestKernelModules:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> ModuleTree:
        """sd-disk needs scsi_core and crc; scsi_core needs crc and a built-in."""
        drivers = tmp_path / "kernel" / "drivers"
        drivers.mkdir(parents=True)
        (tmp_path / "modules.builtin").write_text("kernel/lib/built-in-lib.ko\n")
        (drivers / "sd-disk.ko").write_bytes(
            module(b"depends=scsi_core,crc", b"alias=scsi:t-0x00*", b"alias=block-major-8-*")
        )
        (drivers / "scsi_core.ko").write_bytes(module(b"depends=crc,built_in_lib"))
        (drivers / "crc.ko").write_bytes(module(b"depends="))
        (drivers / "broken.ko").write_bytes(module(b"depends=absent"))
        return ModuleTree(tmp_path)

    def test_modinfo_may_repeat_a_key(self) -> None:
        modinfo = read_modinfo(module(b"license=GPL", b"alias=a", b"alias=b=c"))
        assert modinfo == {"license": ["GPL"], "alias": ["a", "b=c"]}

    def test_closure_is_in_load_order_without_builtins(self, tree: ModuleTree) -> None:
        names = [module.name for module in tree.closure(["sd_disk", "crc"])]
        assert names == ["crc", "scsi_core", "sd_disk"]

    def test_a_builtin_needs_nothing(self, tree: ModuleTree) -> None:
        assert tree.closure(["built-in-lib"]) == []

    def test_a_missing_dependency_is_named(self, tree: ModuleTree) -> None:
        with pytest.raises(RunError, match="kernel module absent is neither in"):
            tree.closure(["broken"])

    def test_modules_dep_lists_first_to_load_last(self, tree: ModuleTree) -> None:
        assert modules_dep(tree.closure(["sd-disk"])) == (
            "kernel/drivers/crc.ko:\n"
            "kernel/drivers/scsi_core.ko: kernel/drivers/crc.ko\n"
            "kernel/drivers/sd-disk.ko: kernel/drivers/scsi_core.ko kernel/drivers/crc.ko\n"
        )

    def test_modules_alias_is_sorted(self, tree: ModuleTree) -> None:
        assert modules_alias(tree.closure(["sd-disk"])) == (
            "alias block-major-8-* sd_disk\nalias scsi:t-0x00* sd_disk\n"
        )


def module(*modinfo: bytes) -> bytes:
    """The least ELF file with a ``.modinfo`` section."""
    info = b"\0".join(modinfo) + b"\0"
    names = b"\0.modinfo\0.shstrtab\0"
    header_bytes, section_bytes = 64, 64
    info_at, names_at = header_bytes, header_bytes + len(info)
    sections_at = names_at + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, sections_at, 0),
        *(header_bytes, 0, 0, section_bytes, 3, 2),
    )
    sections = bytes(section_bytes)
    for name_at, kind, offset, size in ((1, 1, info_at, len(info)), (10, 3, names_at, len(names))):
        sections += struct.pack("<IIQQQQIIQQ", name_at, kind, 0, 0, offset, size, 0, 0, 1, 0)
    return header + info + names + sections


@needs_compiler
class TestSharedLibraries:
    """A program that needs libouter, which needs libinner."""

    @pytest.fixture
    def built(self, tmp_path: Path) -> Path:
        (tmp_path / "inner.c").write_text("int inner(void) { return 7; }\n")
        (tmp_path / "outer.c").write_text("int inner(void); int outer(void) { return inner(); }\n")
        (tmp_path / "main.c").write_text("int outer(void); int main(void) { return outer(); }\n")
        (tmp_path / "map").write_text("OUTER_2.0 { global: outer; };\n")
        self.compile(
            tmp_path, "-shared", "-Wl,-soname,libinner.so.1", "-o", "libinner.so.1", "inner.c"
        )
        self.compile(
            *(tmp_path, "-shared", "-Wl,-soname,libouter.so.2", "-Wl,--version-script,map"),
            *("-o", "libouter.so.2", "outer.c", "libinner.so.1"),
        )
        self.compile(tmp_path, "-o", "main", "main.c", "libouter.so.2", "-Wl,-rpath-link,.")
        return tmp_path

    def compile(self, directory: Path, *arguments: str) -> None:
        subprocess.run(["cc", "-fPIC", *arguments], cwd=directory, check=True)

    def test_needed_sonames(self, built: Path) -> None:
        assert needed_sonames(built / "main") == ["libouter.so.2", "libc.so.6"]

    def test_closure_follows_libraries(self, built: Path) -> None:
        libraries = {name: built / name for name in ("libouter.so.2", "libinner.so.1")}
        closure = library_closure([built / "main"], libraries, lambda soname: False)
        assert closure.found == libraries
        assert closure.missing == {"libc.so.6"}

    def test_closure_stops_at_what_is_left_out(self, built: Path) -> None:
        closure = library_closure([built / "main"], {}, lambda soname: soname != "libc.so.6")
        assert (closure.found, closure.missing) == ({}, frozenset({"libc.so.6"}))

    def test_symbols_wanted_and_exported(self, built: Path) -> None:
        expected = WantedSymbol("outer", "libouter.so.2", "OUTER_2.0")
        assert expected in wanted_symbols(built / "main")
        assert WantedSymbol("inner") in wanted_symbols(built / "libouter.so.2")
        assert "inner" in exported_names(built / "libinner.so.1")
        assert "inner" not in exported_names(built / "libouter.so.2")

    @needs_x86_64
    def test_a_program_starts_with_a_stub_and_ends_where_it_calls_it(self, built: Path) -> None:
        symbols = [
            item for item in wanted_symbols(built / "main") if item.soname == "libouter.so.2"
        ]
        (built / "libouter.so.2").write_bytes(stub_library("libouter.so.2", symbols))
        result = subprocess.run(
            [built / "main"],
            env={"LD_LIBRARY_PATH": str(built), "LD_BIND_NOW": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 127
        assert result.stderr == (
            "libouter.so.2 is left out of this guest image, and so is what needs it\n"
        )


@needs_x86_64
class TestStubLibrary:
    SYMBOLS = (
        WantedSymbol("first", "libstub.so.1", "STUB_1.0"),
        WantedSymbol("second", "libstub.so.1", "STUB_2.0"),
        WantedSymbol("third"),
    )

    def started_with(self, file: Path, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a process that starts with the stub, as a guest's programs do.

        Loaded later it would need a stack that is never executable, which glibc 2.41 insists on.
        """
        code = f"import ctypes; stub = ctypes.CDLL({str(file)!r}); {code}"
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LD_PRELOAD": str(file)},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_loads_and_has_its_symbols_in_their_versions(self, tmp_path: Path) -> None:
        file = tmp_path / "libstub.so.1"
        file.write_bytes(stub_library(file.name, self.SYMBOLS))
        asked = [("first", "1"), ("second", "2"), ("second", "1")]
        lines = [
            "find = ctypes.CDLL(None).dlvsym",
            "find.restype = ctypes.c_void_p",
            "find.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]",
            *(
                f"print(find(stub._handle, b'{name}', b'STUB_{version}.0') is not None)"
                for name, version in asked
            ),
            "print(hasattr(stub, 'third'), hasattr(stub, 'fourth'))",
        ]
        found = self.started_with(file, "; ".join(lines))
        assert found.stdout.split() == ["True", "True", "False", "True", "False"], found.stderr

    def test_a_library_of_which_nothing_is_wanted_loads(self, tmp_path: Path) -> None:
        file = tmp_path / "libstub.so.1"
        file.write_bytes(stub_library(file.name, []))
        found = self.started_with(file, "print(hasattr(stub, 'first'))")
        assert found.stdout == "False\n", found.stderr

    def test_calling_ends_the_process(self, tmp_path: Path) -> None:
        file = tmp_path / "libstub.so.1"
        file.write_bytes(stub_library(file.name, self.SYMBOLS))
        result = self.started_with(file, "stub.second(); print('back')")
        assert (result.returncode, result.stdout) == (127, "")

    def test_is_deterministic(self) -> None:
        backwards = reversed(self.SYMBOLS)
        assert stub_library("libx.so.1", self.SYMBOLS) == stub_library("libx.so.1", backwards)


def test_elf_hash_of_a_known_version() -> None:
    # What every binary linked with glibc carries for this name.
    assert elf_hash("GLIBC_2.2.5") == 0x09691A75
