# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules: what a module depends on, and the tables that ``modprobe`` reads.

Everything is taken from the modules' own ``.modinfo`` sections, so neither depmod nor the
running kernel is asked.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from freezingtime.errors import RunError
from freezingtime.images.mini.initramfs import Initramfs

_SUFFIXES = (".ko", ".ko.xz")


@dataclass(frozen=True, slots=True)
class KernelModule:
    """One loadable module.

    ``path`` is relative to the modules directory, as in ``kernel/fs/xfs/xfs.ko``;
    ``depends`` and ``aliases`` are what its ``.modinfo`` says, ``data`` is the ELF file.
    """

    name: str
    path: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def canonical_name(name: str) -> str:
    """A module's name as the kernel has it: ``dm-mod`` and ``dm_mod`` are one."""
    return name.replace("-", "_")


class ModuleTree:
    """The modules of one kernel: ``directory`` is a ``/lib/modules/<release>``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = {
            canonical_name(file.name.split(".ko")[0]): file
            for file in sorted(directory.rglob("*.ko*"))
            if file.name.endswith(_SUFFIXES)
        }
        #: The kernel's own list of what is built in, by which modprobe knows of it.
        self.builtin_list = (directory / "modules.builtin").read_bytes()
        self._builtin = frozenset(
            canonical_name(Path(line).stem) for line in self.builtin_list.decode().split()
        )

    def closure(self, names: Iterable[str]) -> list[KernelModule]:
        """``names`` and all that they depend on, in an order in which they can be loaded.

        What is built into the kernel is left out. Raises RunError when a module is neither
        there nor built in.
        """
        ordered: dict[str, KernelModule] = {}
        for name in names:
            self._visit(canonical_name(name), ordered)
        return list(ordered.values())

    def _visit(self, name: str, ordered: dict[str, KernelModule]) -> None:
        # Dependencies have no cycles: a module cannot be loaded before its symbols are there.
        if name in ordered or name in self._builtin:
            return
        module = self._read(name)
        for dependency in module.depends:
            self._visit(canonical_name(dependency), ordered)
        ordered[name] = module

    def _read(self, name: str) -> KernelModule:
        file = self._files.get(name)
        if file is None:
            raise RunError(f"kernel module {name} is neither in {self._directory} nor built in")
        data = file.read_bytes()
        if file.suffix == ".xz":
            data = lzma.decompress(data)
        modinfo = read_modinfo(data)
        depends = ",".join(modinfo.get("depends", ())).split(",")
        path = file.relative_to(self._directory).as_posix().removesuffix(".xz")
        return KernelModule(
            name=name,
            path=path,
            data=data,
            depends=tuple(filter(None, depends)),
            aliases=tuple(modinfo.get("alias", ())),
        )


def read_modinfo(module: bytes) -> dict[str, list[str]]:
    """The ``key=value`` strings of a module's ``.modinfo`` section; a key may come repeatedly."""
    section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    modinfo: dict[str, list[str]] = {}
    for item in section.data().split(b"\0") if section is not None else []:
        key, separator, value = item.decode("utf-8", "replace").partition("=")
        if separator:
            modinfo.setdefault(key, []).append(value)
    return modinfo


def modules_dep(modules: Iterable[KernelModule]) -> str:
    """The text of ``modules.dep`` for ``modules``, which is a closure in load order.

    A line lists all that a module needs, what is to be loaded first standing last.
    """
    loaded = {module.name: module for module in modules}
    lines = []
    for module in loaded.values():
        needed = _all_dependencies(module, loaded)
        lines.append(" ".join([f"{module.path}:", *reversed(needed)]))
    return "".join(f"{line}\n" for line in sorted(lines))


def _all_dependencies(module: KernelModule, loaded: dict[str, KernelModule]) -> list[str]:
    """The paths of all that ``module`` needs, in load order."""
    names: set[str] = set()
    pending = [module]
    while pending:
        for dependency in map(canonical_name, pending.pop().depends):
            if dependency in loaded and dependency not in names:
                names.add(dependency)
                pending.append(loaded[dependency])
    return [other.path for other in loaded.values() if other.name in names]


def modules_alias(modules: Iterable[KernelModule]) -> str:
    """The text of ``modules.alias``, by which the kernel finds a file system's module."""
    lines = [f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases]
    return "".join(sorted(lines))


def add_modules(
    image: Initramfs,
    tree: ModuleTree,
    release: str,
    *,
    boot: Sequence[str],
    further: Sequence[str] = (),
) -> None:
    """Add modules and all that they need; ``/etc/boot-modules`` names those of ``boot``."""
    modules = tree.closure([*boot, *further])
    loadable = {module.name for module in modules}
    directory = f"usr/lib/modules/{release}"
    for module in modules:
        image.add_file(f"{directory}/{module.path}", module.data)
    image.add_file(f"{directory}/modules.dep", modules_dep(modules).encode())
    image.add_file(f"{directory}/modules.alias", modules_alias(modules).encode())
    image.add_file(f"{directory}/modules.builtin", tree.builtin_list)
    image.add_file(
        "etc/boot-modules", "".join(f"{name}\n" for name in boot if name in loadable).encode()
    )
