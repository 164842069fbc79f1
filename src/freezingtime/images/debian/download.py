# SPDX-License-Identifier: GPL-2.0-or-later
"""Files from a mirror, by http, https or file: bounded in size and time, and tried again.

Proxies are those of the host's apt, or else of the environment (``http_proxy`` and the like).
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from freezingtime.errors import RunError
from freezingtime.host.replaced_file import replaced

if TYPE_CHECKING:
    import urllib3

#: How many files may be fetched at once.
CONNECTIONS = 4

_SILENCE_S = 30.0
_DEADLINE_S = 1800.0
_TRIES = 3
_PAUSE_S = 1.0
_CHUNK_BYTES = 1 << 18


class NotThereError(RunError):
    """A mirror says that it has no such file."""


class UnreachableError(RunError):
    """Raised when a mirror's content cannot be determined."""


class NotAsAnnouncedError(RunError):
    """A mirror has another file than the one that was announced."""


def fetch_bytes(address: str, size_max_bytes: int) -> bytes:
    """Return the content of a file that has at most so many bytes.

    Raises:
        NotThereError, UnreachableError: it cannot be had.
        NotAsAnnouncedError: it is larger.
    """
    return b"".join(_chunks(address, size_max_bytes))


def fetch_file(address: str, path: Path, size_bytes: int, sha256: str) -> None:
    """Store a file, whole and as it was announced, or not at all.

    Raises:
        NotThereError, UnreachableError: it cannot be had.
        NotAsAnnouncedError: it is another.
    """
    digest = hashlib.sha256()
    with replaced(path) as file:
        for chunk in _chunks(address, size_bytes):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != sha256:
            raise NotAsAnnouncedError(f"{address}: its SHA-256 is not {sha256} as announced")


def _chunks(address: str, size_max_bytes: int) -> Iterator[bytes]:
    """The content of a file; what was read before a connection broke is not read again."""
    import urllib3  # loads slowly, and only building images needs it

    deadline_s = time.monotonic() + _DEADLINE_S
    read_bytes = 0
    for left in reversed(range(_TRIES)):
        try:
            for chunk in _read(address, read_bytes):
                read_bytes += len(chunk)
                if read_bytes > size_max_bytes:
                    raise NotAsAnnouncedError(
                        f"{address}: has more than the {size_max_bytes} announced bytes"
                    )
                if time.monotonic() > deadline_s:
                    raise UnreachableError(f"{address}: was not received within {_DEADLINE_S:g} s")
                yield chunk
            return
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotThereError(f"{address} does not exist") from error
        except OSError as error:
            raise UnreachableError(f"{address}: {error.strerror or error}") from error
        except urllib3.exceptions.HTTPError as error:
            if left == 0:
                raise UnreachableError(f"{address}: {_reason(error)}") from error
        time.sleep(_PAUSE_S)


def _read(address: str, start_bytes: int) -> Iterator[bytes]:
    import urllib3

    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "file":
        with Path(urllib.parse.unquote(parts.path)).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
        return
    headers = {"User-Agent": "freezingtime", "Range": f"bytes={start_bytes}-"}
    if not start_bytes:
        del headers["Range"]
    answer = _pool(_proxy(parts.scheme, parts.hostname or "")).request(
        "GET", address, headers=headers, preload_content=False
    )
    try:
        if answer.status in (http.client.NOT_FOUND, http.client.GONE):
            raise FileNotFoundError
        if answer.status >= http.client.INTERNAL_SERVER_ERROR:
            raise urllib3.exceptions.HTTPError(f"the server says {answer.status} {answer.reason}")
        if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
            raise OSError(f"the server says {answer.status} {answer.reason}")
        skip_bytes = start_bytes if answer.status == http.client.OK else 0
        for chunk in answer.stream(_CHUNK_BYTES, decode_content=False):
            yield chunk[skip_bytes:]
            skip_bytes = max(skip_bytes - len(chunk), 0)
    finally:
        answer.close()  # unless all was read, nobody else can use the connection


def _reason(error: Exception) -> str:
    """Describe the failure in one line."""
    reason: object = error
    while isinstance(nested := getattr(reason, "reason", None), Exception):
        reason = nested
    # Such as "HTTPConnection(host=..., port=80): Failed to ...": the address is said already.
    return " ".join(str(reason).split()).rpartition("): ")[2]


@cache
def _pool(proxy: str | None) -> urllib3.PoolManager:
    """Connections that stay open for the next file, and take no answer for none."""
    import urllib3

    retries = urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0, other=0)
    timeout = urllib3.Timeout(connect=_SILENCE_S, read=_SILENCE_S)
    if proxy is None:
        return urllib3.PoolManager(maxsize=CONNECTIONS, retries=retries, timeout=timeout)
    return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, retries=retries, timeout=timeout)


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy for a host, if there is one."""
    if urllib.request.proxy_bypass(host):
        return None
    proxies = {**urllib.request.getproxies(), **_proxies_of_apt()}
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


@cache
def _proxies_of_apt() -> dict[str, str]:
    """By scheme, the proxies that the host's apt goes by."""
    if shutil.which("apt-config") is None:
        return {}
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        dump = subprocess.run(
            ["apt-config", "dump", "Acquire"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SILENCE_S,
            check=False,
        ).stdout
        found = re.findall(r'^Acquire::(https?)::proxy "(\S+://\S+)";$', dump, re.M | re.I)
        return {scheme.lower(): proxy for scheme, proxy in found}
    return {}
