# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources of ours that put an image together: other sources may build another guest."""

from __future__ import annotations

import hashlib
from importlib import resources

#: The sources whose change may change an image: all, those with no root disk, those with one.
_COMMON_SOURCES = (
    *("vm/guest/job-runner", "images/mini/initramfs.py", "images/mini/kernel_modules.py"),
    *("images/debian/unpacked_packages.py", "vm/qemu/frontends.py"),
)
_MINI_SOURCES = (
    *("vm/guest/init", "images/mini/image.py", "images/mini/shared_libraries.py"),
    "images/mini/stub_library.py",
)
_CONTAINER_SOURCES = (
    *_MINI_SOURCES,
    *("vm/guest/ready-container", "vm/guest/start-job", "vm/guest/make-container-root"),
    *("images/container/layer.py", "images/container/tree.py", "images/container/prepare.py"),
    *("images/container/directory.py", "images/container/root_tar.py", "runs/own/container.py"),
)
_ROOT_SOURCES = (
    *("vm/guest/root-init", "vm/guest/customize-root", "vm/guest/freezingtime.target"),
    *("vm/guest/freezingtime-job.service", "images/debian/image.py", "vm/guest/copy-to-xfs"),
    "images/xfs_root.py",
)


def builder_identity(*, has_root: bool, is_container: bool = False) -> str:
    """Return the identity of the sources that build images with, or without, a root disk."""
    digest = hashlib.sha256()
    sources = resources.files("freezingtime")
    own = _ROOT_SOURCES if has_root else _MINI_SOURCES
    for name in (*_COMMON_SOURCES, *(_CONTAINER_SOURCES if is_container else own)):
        digest.update(sources.joinpath(*name.split("/")).read_bytes())
    return digest.hexdigest()
