# SPDX-License-Identifier: GPL-2.0-or-later
"""Make this Python look like one on macOS with an ARM CPU: what only Linux has is gone.

Put on PYTHONPATH as sitecustomize.py. It imports what our package depends on first, which is built
for the platform that it is really on; then it takes away, and says, what the platform decides.
"""

from __future__ import annotations

import builtins
import ctypes
import fcntl
import importlib
import io
import mmap
import os
import platform
import resource
import select
import signal
import socket
import sys
import tempfile
from typing import Any

_DEPENDENCIES = (
    *("numba", "pandas", "pyarrow.parquet", "scipy.optimize", "matplotlib.pyplot"),
    "platformdirs",  # and the cache stays where it is
    "urllib.request",  # asks macOS for proxies by a module that Python has there
)
#: What the documentation of each module has as Linux's, or as not macOS's.
_GONE: dict[Any, tuple[str, ...]] = {
    os: (
        *("eventfd", "eventfd_read", "eventfd_write", "EFD_CLOEXEC", "EFD_NONBLOCK"),
        *("memfd_create", "MFD_CLOEXEC", "pidfd_open", "timerfd_create", "getrandom"),
        *("O_DIRECT", "O_TMPFILE", "O_PATH", "O_NOATIME", "O_LARGEFILE"),
        *("fdatasync", "posix_fadvise", "posix_fallocate", "copy_file_range", "splice", "pipe2"),
        *("sched_getaffinity", "sched_setaffinity", "setns", "unshare", "getresuid", "getresgid"),
        *("getxattr", "setxattr", "listxattr", "removexattr", "RWF_DSYNC", "RWF_NOWAIT"),
    ),
    select: tuple(name for name in dir(select) if name.lower().startswith("epoll")),
    socket: (
        *("SO_PEERCRED", "SO_PASSCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK"),
        *("MSG_CMSG_CLOEXEC", "MSG_NOSIGNAL", "AF_NETLINK", "AF_VSOCK", "SCM_CREDENTIALS"),
    ),
    fcntl: (
        *("F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_ADD_SEALS", "F_GET_SEALS"),
        *("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_NOTIFY", "F_SETLEASE"),
    ),
    signal: ("sigtimedwait", "sigwaitinfo", "pidfd_send_signal", "SIGRTMIN", "SIGPWR"),
    resource: ("prlimit", "RUSAGE_THREAD"),
    mmap: (
        *("MAP_NORESERVE", "MAP_POPULATE", "MAP_STACK", "MADV_NOHUGEPAGE", "MADV_HUGEPAGE"),
        *("MADV_DONTFORK", "MADV_REMOVE", "MADV_DONTDUMP"),
    ),
}
_NO_FUNCTIONS = ("fallocate", "timerfd_create", "timerfd_settime", "prctl", "renameat2")
_NO_DIRECTORIES = ("/proc", "/sys")


def _without_directories(function: Any) -> Any:
    """A function that takes a path first, where Linux's own directories are not there."""

    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(path, (str, os.PathLike)):
            name = os.fspath(path)
            if isinstance(name, str) and name.startswith(_NO_DIRECTORIES):
                raise FileNotFoundError(2, "No such file or directory", name)
        return function(path, *arguments, **options)

    return call


class _LibraryOfAnotherSystem(ctypes.CDLL):
    def __getattr__(self, name: str) -> Any:
        if name in _NO_FUNCTIONS:
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        return super().__getattr__(name)


def _become_another_platform() -> None:
    for name in _DEPENDENCIES:
        importlib.import_module(name)
    for module, names in _GONE.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    ctypes.CDLL = _LibraryOfAnotherSystem  # type: ignore[misc]
    io.open = builtins.open = _without_directories(open)
    for name in ("open", "stat", "readlink", "listdir", "scandir"):
        setattr(os, name, _without_directories(getattr(os, name)))
    tempfile._O_TMPFILE_WORKS = False  # type: ignore[attr-defined]
    # Compiled, and only installed where guests can run.
    sys.modules["pysequoia"] = None  # type: ignore[assignment]
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"


_become_another_platform()
