# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages without apt: what needs what, files that come in pieces, archives that would get out."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian import download
from freezingtime.images.debian.dependencies import Closure
from freezingtime.images.debian.download import (
    NotAsAnnouncedError,
    NotThereError,
    UnreachableError,
    fetch_bytes,
    fetch_file,
)
from freezingtime.images.debian.package import unpack
from freezingtime.images.debian.package_index import PackageIndex, PackageLists, is_version


def lists(*parts: str, preferred: str | None = None) -> PackageLists:
    """Lists of packages, one a line: ``name version; Field: value; ...``."""
    indices = {}
    for number, part in enumerate(parts):
        paragraphs = []
        for line in filter(None, map(str.strip, part.splitlines())):
            first, *fields = line.split("; ")
            name, version = first.split()
            known = {"Architecture": "amd64", "Filename": f"pool/{name}+1~.deb", "Size": "1"}
            lines = [f"Package: {name}", f"Version: {version}", "SHA256: 0", *fields]
            lines += [f"{key}: {value}" for key, value in known.items()]
            paragraphs.append("\n".join(lines))
        indices[f"part{number}"] = PackageIndex("\n\n".join(paragraphs).encode(), "http://m")
    return PackageLists(indices, preferred)


def closure(packages: PackageLists, *names: str) -> str:
    wanted = [packages.candidate(name) for name in names]
    found = Closure(packages)
    found.add([entry for entry in wanted if entry is not None])
    return " ".join(entry.name for entry in found.entries)


class TestLists:
    def test_the_newest_is_taken_as_debian_counts(self) -> None:
        """Tildes come before all, epochs first, numbers as numbers; of equals the first."""
        found = lists("a 1.9\na 1:0.1\nb 1.10~rc1\nc 2", "a 2\nb 1.9\nc 2")
        versions = {name: getattr(found.candidate(name), "version", None) for name in "abcd"}
        assert versions == {"a": "1:0.1", "b": "1.10~rc1", "c": "2", "d": None}
        assert is_version("1.2-1", ">=", "1.2~")
        assert not is_version("1.2", ">>", "1.2")
        assert lists("a 2", "a 1", preferred="part1").candidate("a").version == "1"  # type: ignore[union-attr]
        assert found.candidate("a").package.address == "http://m/pool/a+1~.deb"  # type: ignore[union-attr]

    def test_what_is_no_version_is_refused(self) -> None:
        """It becomes the name of a file."""
        with pytest.raises(RunError, match="list of packages is wrong at 'Package: a'"):
            lists("a ../../x").candidate("a")


class TestClosure:
    @pytest.mark.parametrize(
        ("packages", "found"),
        [
            ("a 1; Depends: b, c:any\nb 1; Pre-Depends: d\nc 1\nd 1; Depends: a\ne 1", "a b c d"),
            ("a 1; Depends: x | b | c\nb 1\nc 1", "a b"),
            ("a 1; Depends: b (>= 2) | c\nb 1\nc 1", "a c"),
            ("a 1; Depends: b | c, d\nb 1\nc 1\nd 1; Conflicts: b", "a InputError"),
            ("a 1; Depends: b | c; Breaks: b (<< 2)\nb 1\nc 1", "a c"),
            (
                "a 1; Depends: mta\nb 1; Provides: mta; Priority: optional\nc 1; Provides: mta; "
                "Priority: required",
                "a c",
            ),
            ("a 1; Depends: mta (>= 2)\nb 1; Provides: mta\nc 1; Provides: mta (= 3)", "a c"),
            ("a 1; Depends: b | mta\nb 1; Provides: mta; Conflicts: mta", "a b"),
            ("a 1; Depends: b\nb 1; Recommends: c; Suggests: d\nc 1\nd 1", "a b"),
            ("a 1; Depends: x", "a InputError"),
            ("a 1; Depends: b (= 2)\nb 1", "a InputError"),
        ],
    )
    def test_is_what_it_takes(self, packages: str, found: str) -> None:
        if "InputError" in found:
            with pytest.raises(InputError, match=r"^\w needs \w.*, (which the s|but \w conflicts)"):
                closure(lists(packages), "a")
        else:
            assert closure(lists(packages), "a") == found

    def test_what_is_there_already_will_do(self) -> None:
        packages = lists("a 1; Depends: b | c\nb 1\nc 1\nd 1; Conflicts: e\ne 1")
        assert closure(packages, "a", "c") == "a c"
        with pytest.raises(InputError, match=r"^e conflicts with d$"):
            closure(packages, "d", "e")


@contextmanager
def server(answer: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answer) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


class TestDownload:
    CONTENT = bytes(range(256)) * 4000

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "_PAUSE_S", 0.0)
        monkeypatch.setattr(download, "_proxies_of_apt", dict)
        for name in ("http_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        download._pool.cache_clear()

    @pytest.mark.parametrize("takes_ranges", [True, False])
    def test_goes_on_where_a_connection_broke(self, tmp_path: Path, takes_ranges: bool) -> None:
        content, asked = self.CONTENT, []

        class Breaking(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.headers["Range"])
                start = 0
                if takes_ranges and self.headers["Range"]:
                    start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                end = len(content) if len(asked) > 1 else 600_000
                self.wfile.write(content[start:end])

            def log_message(self, format: str, *args: object) -> None:
                pass

        with server(Breaking) as address:
            digest = hashlib.sha256(content).hexdigest()
            fetch_file(f"{address}/x", tmp_path / "x", len(content), digest)
        assert (tmp_path / "x").read_bytes() == content
        assert len(asked) == 2
        assert asked[0] is None
        assert asked[1] is not None

    def test_what_is_wrong_is_said_in_one_line(self, tmp_path: Path) -> None:
        class Refusing(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = int(self.path.removeprefix("/"))
                self.send_response(status)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"text")

            def log_message(self, format: str, *args: object) -> None:
                pass

        with server(Refusing) as address:
            for status, kind, said in (
                (404, NotThereError, f"{address}/404 does not exist"),
                (410, NotThereError, f"{address}/410 does not exist"),
                (403, UnreachableError, f"{address}/403: the server says 403 Forbidden"),
                (503, UnreachableError, f"{address}/503: the server says 503 Service Unavailable"),
            ):
                with pytest.raises(kind) as refused:
                    fetch_bytes(f"{address}/{status}", 100)
                assert str(refused.value) == said
            with pytest.raises(NotAsAnnouncedError, match="more than the 3 announced bytes"):
                fetch_bytes(f"{address}/200", 3)
            with pytest.raises(NotAsAnnouncedError, match="its SHA-256 is not 00 as announced"):
                fetch_file(f"{address}/200", tmp_path / "x", 4, "00")
        assert list(tmp_path.iterdir()) == []

    def test_goes_by_the_environments_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(self.path)))
                self.end_headers()
                self.wfile.write(self.path.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        with server(Proxy) as address:
            monkeypatch.setenv("http_proxy", address)
            asked = "http://mirror.example/debian/x"
            assert fetch_bytes(asked, 100) == asked.encode()
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert fetch_bytes(f"{address}/here", 100) == b"/here"


def make_deb(path: Path, members: list[tuple[str, bytes, str]]) -> None:
    """A package with members: a name, a tar type, and the content or what a link leads to."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o4755
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            elif kind != tarfile.DIRTYPE:
                member.linkname = content
            tar.addfile(member, io.BytesIO(content.encode()) if member.size else None)
    control = io.BytesIO()
    with tarfile.open(fileobj=control, mode="w:gz"):
        pass
    archive = b"!<arch>\n"
    for name, part in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", control.getvalue()),
        ("data.tar.xz", data.getvalue()),
    ):
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(part):<10}`\n".encode()
        archive += part + b"\n" * (len(part) % 2)
    path.write_bytes(archive)


class TestUnpacking:
    FILE, LINK, HARD, DIRECTORY = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE

    def test_writes_over_what_is_there(self, tmp_path: Path) -> None:
        """Also over links that lead elsewhere, and through those that stay inside."""
        target = tmp_path / "target"
        make_deb(
            tmp_path / "a.deb",
            [
                ("./", self.DIRECTORY, ""),
                ("./usr/lib", self.DIRECTORY, ""),
                ("./lib", self.LINK, "usr/lib"),
                ("./ld.so", self.LINK, "/lib/ld-x.so"),
                ("./usr/lib/x", self.FILE, "one"),
                ("./y", self.HARD, "./usr/lib/x"),
            ],
        )
        make_deb(tmp_path / "b.deb", [("./lib/", self.DIRECTORY, ""), ("./lib/x", self.FILE, "2")])
        for name in ("a.deb", "a.deb", "b.deb"):
            unpack(tmp_path / name, target)
        assert (target / "usr/lib/x").read_text() == "2"
        assert (target / "ld.so").readlink() == Path("/lib/ld-x.so")
        assert (target / "lib").is_symlink()
        assert (target / "y").stat().st_mode & 0o7777 == 0o755

    @pytest.mark.parametrize(
        "members",
        [
            [("../out", FILE, "x")],
            [("d", LINK, "{outside}"), ("d/out", FILE, "x")],
            [("d", LINK, "{outside}"), ("d", DIRECTORY, ""), ("d/out", FILE, "x")],
            [("d", LINK, ".."), ("d/out", FILE, "x")],
            [("h", HARD, "../secret"), ("h", FILE, "x")],
            [("h", HARD, "{outside}/../secret")],
        ],
    )
    def test_nothing_gets_out(self, tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
        outside, target = tmp_path / "outside", tmp_path / "target"
        for directory in (outside, target):
            directory.mkdir()
        (tmp_path / "secret").write_text("kept")
        named = [(name, kind, text.format(outside=outside)) for name, kind, text in members]
        make_deb(tmp_path / "x.deb", named)
        with pytest.raises(RunError, match=r"^cannot unpack the package \S+x.deb \(.* outside\)"):
            unpack(tmp_path / "x.deb", target)
        assert list(outside.iterdir()) == []
        assert not (tmp_path / "out").exists()
        assert (tmp_path / "secret").read_text() == "kept"
        assert (tmp_path / "secret").stat().st_nlink == 1

    def test_an_absolute_name_is_one_inside(self, tmp_path: Path) -> None:
        make_deb(tmp_path / "x.deb", [("/etc/x", self.FILE, "x")])
        unpack(tmp_path / "x.deb", tmp_path / "target")
        assert (tmp_path / "target/etc/x").read_text() == "x"

    @pytest.mark.parametrize("end", [3, 100, -120])
    def test_what_is_cut_off_is_refused(self, tmp_path: Path, end: int) -> None:
        deb = tmp_path / "x.deb"
        make_deb(deb, [("./x", self.FILE, "x" * 100)])
        deb.write_bytes(deb.read_bytes()[:end])
        with pytest.raises(
            RunError, match=r"^cannot unpack the package .*delete it and try again$"
        ):
            unpack(deb, tmp_path / "target")
