# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's packages are of the suite that is named, whatever the host's apt has and does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from freezingtime.errors import FreezingTimeError, InputError, RunError
from freezingtime.images.debian import mirror as mirror_module
from freezingtime.images.debian.archive import open_archive
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, MIRROR_VARIABLE, find_mirror
from freezingtime.images.debian.suite import DEFAULT, Suite
from freezingtime.images.mini.name import mini_name, mini_suite
from freezingtime.runs.guest import require_image
from tests.conftest import RunProgram
from tests.support.suitelib import SmallMirror

ALPHA = Suite("alpha")

_OLD = "Date: Sat, 03 Jan 2026 00:00:00 UTC"
_UNTIL = "Valid-Until: Sat, 10 Jan 2026 00:00:00 UTC"


@pytest.fixture(scope="module")
def whole_mirror(tmp_path_factory: pytest.TempPathFactory) -> SmallMirror:
    """Never to be changed."""
    mirror = SmallMirror(tmp_path_factory.mktemp("mirror"))
    mirror.add_suite("alpha", version="1", security="2")
    mirror.add_part("debian/dists/alpha-backports", "3")
    mirror.add_suite("beta", version="9")
    return mirror


@pytest.fixture
def mirror(whole_mirror: SmallMirror, monkeypatch: pytest.MonkeyPatch) -> SmallMirror:
    """The mirror that is used, on a host whose apt has everything otherwise."""
    directory = whole_mirror.directory
    (directory / "preferences").write_text("Package: *\nPin: version 9*\nPin-Priority: 1001\n")
    (directory / "sources.list").write_text(
        f"deb [trusted=yes] file:{directory}/debian beta main\n"
    )
    hosts = {
        "Dir::Etc::sourcelist": directory / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": directory / "preferences",
        "Acquire::AllowInsecureRepositories": "true",
        "Acquire::Languages": "fr",
        "Acquire::Retries": "0",
        "APT::Update::Pre-Invoke": "exit 1",
    }
    (directory / "host.conf").write_text(
        "".join(f'{name} "{value}";\n' for name, value in hosts.items())
    )
    monkeypatch.setenv("APT_CONFIG", str(directory / "host.conf"))
    monkeypatch.setenv(MIRROR_VARIABLE, whole_mirror.addresses)
    monkeypatch.setenv(KEYRING_VARIABLE, str(whole_mirror.keyring))
    return whole_mirror


@pytest.fixture
def own_mirror(
    mirror: SmallMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """A copy of the mirror that is used instead; gives the path of a file in it."""
    copy = tmp_path / "copy"
    shutil.copytree(mirror.directory, copy, ignore=shutil.ignore_patterns("gnupg"))
    addresses = mirror.addresses.replace(str(mirror.directory), str(copy))
    monkeypatch.setenv(MIRROR_VARIABLE, addresses)
    return copy.__truediv__


def tool_of(directory: Path, suite: Suite) -> tuple[str, list[str]]:
    """The version of the package that a suite has, and the names of what is downloaded."""
    archive = open_archive(directory, suite)
    archive.update()
    package = archive.candidate("tool")
    archive.download([package])
    return package.version, sorted(path.name for path in directory.glob("*/debs/*"))


class TestSuite:
    def test_is_what_is_named_with_its_security_updates(
        self, mirror: SmallMirror, tmp_path: Path
    ) -> None:
        assert tool_of(tmp_path, ALPHA) == ("2", ["tool_2_all.deb"])
        both = ["tool_2_all.deb", "tool_9_all.deb"]
        assert tool_of(tmp_path, Suite("beta")) == ("9", both)
        assert tool_of(tmp_path, ALPHA) == ("2", both)

    def test_may_have_its_lists_by_their_digests(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mirror").mkdir()
        mirror = SmallMirror(tmp_path / "mirror")
        mirror.add_part("debian/dists/sid", "4", hash_names=True)
        monkeypatch.setenv(MIRROR_VARIABLE, mirror.addresses)
        monkeypatch.setenv(KEYRING_VARIABLE, str(mirror.keyring))
        assert tool_of(tmp_path, Suite("sid"))[0] == "4"

    def test_backports_come_before_what_they_are_for(
        self, mirror: SmallMirror, tmp_path: Path
    ) -> None:
        assert tool_of(tmp_path, Suite("alpha-backports"))[0] == "3"

    def test_sid_has_no_updates(self) -> None:
        assert (Suite("sid").main_parts, Suite("sid").security_parts) == (["sid"], [])
        assert Suite("trixie").main_parts == ["trixie", "trixie-updates"]

    @pytest.mark.parametrize("text", ["stable", "oldstable-backports", "Trixie", "", "../x", "a b"])
    def test_a_name_that_is_none(self, text: str) -> None:
        with pytest.raises(InputError, match=r"--suite: .*code name.* such as bookworm or trixie"):
            Suite.parse(text, "--suite")

    def test_mini_guests_are_called_after_theirs(self) -> None:
        for suite, name in ((DEFAULT, "mini"), (Suite("trixie"), "mini-trixie")):
            assert mini_name(suite) == name
            assert mini_suite(name) == suite
            require_image(name)
        assert mini_suite("minimal") is None
        for name, said in (("mini-bookworm", "is called mini"), ("mini-stable", "code name")):
            with pytest.raises(InputError, match=f"--guest {name}: .*{said}"):
                require_image(name)


class TestBadInput:
    """Each is one line, with what would be right, and nothing is left behind."""

    def refusal(
        self, directory: Path, suite: Suite, kind: type[FreezingTimeError] = RunError
    ) -> str:
        with pytest.raises(kind) as refused:
            tool_of(directory, suite)
        assert "\n" not in str(refused.value)
        assert list(directory.glob("*/debs/*")) == []
        return str(refused.value)

    def test_no_such_suite(self, mirror: SmallMirror, tmp_path: Path) -> None:
        said = self.refusal(tmp_path, Suite("gamma"), InputError)
        assert said == (
            f"suite gamma: file:{mirror.directory}/debian/dists/gamma/InRelease does not exist "
            f"(the mirror's address is from {MIRROR_VARIABLE}); choose another suite, such as "
            f"bookworm or trixie, or another mirror with {MIRROR_VARIABLE}"
        )

    def test_signed_by_somebody_else(
        self, mirror: SmallMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when lists that were signed rightly are there from earlier."""
        (tmp_path / "other").mkdir()
        other = SmallMirror(tmp_path / "other").keyring
        for directory in (tmp_path / "first", tmp_path / "again"):
            if directory.name == "again":
                tool_of(directory, ALPHA)
                shutil.rmtree(directory / "alpha" / "debs")
            monkeypatch.setenv(KEYRING_VARIABLE, str(other))
            said = self.refusal(directory, ALPHA)
            archive = f"file:{mirror.directory}/debian"
            assert said.startswith(
                f"suite alpha: {archive} alpha is not signed with a key of {other}"
            )
            monkeypatch.setenv(KEYRING_VARIABLE, str(mirror.keyring))

    @pytest.mark.parametrize("keyring", ["nosuch.gpg", "/etc/passwd", ".", "/dev/null"])
    def test_no_keyring(
        self, mirror: SmallMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyring: str
    ) -> None:
        monkeypatch.setenv(KEYRING_VARIABLE, keyring)
        said = self.refusal(tmp_path, ALPHA, InputError)
        assert said.startswith(f"{KEYRING_VARIABLE} {keyring}: must be a file with OpenPGP keys")

    @pytest.mark.parametrize("damage", ["longer", "shorter", "other"])
    def test_damaged_index(
        self, own_mirror: Callable[[str], Path], tmp_path: Path, damage: str
    ) -> None:
        index = own_mirror("debian/dists/alpha/main/binary-amd64/Packages.gz")
        content = index.read_bytes()
        damaged = {"longer": content + b"x", "shorter": content[:-1], "other": b"x" + content[1:]}
        index.write_bytes(damaged[damage])
        said = self.refusal(tmp_path, ALPHA)
        assert said.startswith("suite alpha: cannot fetch its package lists (file:")
        assert "Packages.gz: " in said
        assert "announce" in said

    def test_index_that_was_damaged_here_is_fetched_anew(
        self, mirror: SmallMirror, tmp_path: Path
    ) -> None:
        tool_of(tmp_path, ALPHA)
        (tmp_path / "alpha/lists/alpha/Packages").write_text("Package: tool\n")
        assert tool_of(tmp_path, ALPHA)[0] == "2"

    def test_no_signature(self, own_mirror: Callable[[str], Path], tmp_path: Path) -> None:
        own_mirror("debian-security/dists/alpha-security/InRelease").unlink()
        said = self.refusal(tmp_path, ALPHA, InputError)
        assert "/debian-security/dists/alpha-security/InRelease does not exist (" in said

    @pytest.mark.parametrize(
        ("replaced", "said"),
        [
            (("Date: .*", f"{_OLD}\n{_UNTIL}"), "it is of 2026-01-03, and has expired"),
            ((r"(Suite|Codename): .*", r"\1: omega"), "it is the list of omega"),
            (("Date: .*", "Date: soon"), "cannot be read"),
            (("Date: .*", ""), "cannot be read"),
            (("SHA256:", "SHA512:"), "announces none for amd64"),
        ],
    )
    def test_rightly_signed_and_wrong(
        self,
        mirror: SmallMirror,
        own_mirror: Callable[[str], Path],
        tmp_path: Path,
        replaced: tuple[str, str],
        said: str,
    ) -> None:
        """What a mirror may have from another day or place; whatever is there from earlier."""
        tool_of(tmp_path / "cache", ALPHA)
        shutil.rmtree(tmp_path / "cache/alpha/debs")
        part = own_mirror("debian/dists/alpha")
        text = (part / "Release").read_text()
        (part / "Release").write_text(re.sub(*replaced, text))
        mirror.sign(part)
        assert said in self.refusal(tmp_path / "cache", ALPHA)

    def test_older_lists_do_not_take_the_place_of_newer_ones(
        self,
        mirror: SmallMirror,
        own_mirror: Callable[[str], Path],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tool_of(tmp_path / "cache", ALPHA)
        part = own_mirror("debian/dists/alpha")
        text = (part / "Release").read_text()
        (part / "Release").write_text(re.sub("Date: .*", _OLD, text))
        mirror.sign(part)
        assert tool_of(tmp_path / "cache", ALPHA)[0] == "2"
        (message,) = caplog.messages
        assert message.startswith("suite alpha: uses earlier package lists (file:")
        assert message.endswith(" has older ones, of 2026-01-03)")

    def test_a_past_day_is_asked_for(
        self,
        mirror: SmallMirror,
        own_mirror: Callable[[str], Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """An archive of past days has what was valid then."""
        part = own_mirror("debian/dists/alpha")
        text = (part / "Release").read_text()
        (part / "Release").write_text(re.sub("Date: .*", f"{_OLD}\n{_UNTIL}", text))
        mirror.sign(part)
        for day, good in (("20260105T000000Z", True), ("20260111T000000Z", False)):
            dated = part.parents[2] / day
            shutil.copytree(part.parents[1], dated)
            security = part.parents[2] / "debian-security"
            monkeypatch.setenv(MIRROR_VARIABLE, f"file:{dated} file:{security}")
            if good:
                assert tool_of(tmp_path / day, ALPHA)[0] == "2"
            else:
                assert "has expired" in self.refusal(tmp_path / day, ALPHA)

    def test_damaged_package(self, own_mirror: Callable[[str], Path], tmp_path: Path) -> None:
        deb = own_mirror("debian-security/pool/tool_2_all.deb")
        content = deb.read_bytes()
        deb.write_bytes(content[:-1] + b"x")
        said = self.refusal(tmp_path, ALPHA)
        assert said.startswith("cannot fetch the package tool 2 (file:")
        assert "tool_2_all.deb: its SHA-256 is not" in said
        assert said.endswith(
            f"): check the network and the mirror (the mirror's address is from {MIRROR_VARIABLE})"
        )
        deb.write_bytes(content)
        assert tool_of(tmp_path, ALPHA)[0] == "2"

    def test_a_mirror_that_is_gone(
        self,
        own_mirror: Callable[[str], Path],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Lists from earlier do, if they are all there."""
        assert tool_of(tmp_path / "cache", ALPHA)[0] == "2"
        assert caplog.messages == []
        (own_mirror("debian-security")).rename(tmp_path / "gone")
        assert tool_of(tmp_path / "cache", ALPHA)[0] == "2"
        (message,) = caplog.messages
        assert message.startswith("suite alpha: uses earlier package lists (")
        assert "alpha-security" in self.refusal(tmp_path / "new", ALPHA, InputError)

    def test_no_network(
        self, mirror: SmallMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:1/debian http://127.0.0.1:1/x")
        said = self.refusal(tmp_path, ALPHA)
        assert said.startswith("suite alpha: cannot fetch its package lists (http://127.0.0.1:1/")
        assert "Connection refused" in said
        assert said.endswith(
            f"check the network and the mirror (the mirror's address is from {MIRROR_VARIABLE})"
        )

    def test_command_line(
        self, mirror: SmallMirror, freezingtime: RunProgram, tmp_path: Path
    ) -> None:
        environment = {"XDG_CACHE_HOME": str(tmp_path)}
        ended = freezingtime("image", "build", "--suite", "gamma", environment=environment)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1].startswith("freezingtime: suite gamma: ")
        assert list((tmp_path / "freezingtime").glob("images/*")) == []


class TestMirror:
    HOSTS = (
        "'http://vendor.example/debian/dists/trixie/stable/binary-amd64/Packages.xz' x 0 \n"
        "'{archive}/dists/trixie/InRelease' x 0 \n"
        "'{archive}/dists/trixie/main/binary-amd64/Packages.xz' x 0 \n"
        "'{security}/dists/trixie-security/main/binary-amd64/Packages.xz' x 0 \n"
        "'http://second.example/debian/dists/trixie/main/binary-amd64/Packages.xz' x 0 \n"
    )

    @pytest.fixture(autouse=True)
    def nobody_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(MIRROR_VARIABLE, raising=False)

    @pytest.fixture
    def host(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        """Has the host's apt print what is given."""

        def print_it(text: str) -> None:
            program = tmp_path / "apt-get"
            program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{text}END\n")
            program.chmod(0o755)

        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return print_it

    @pytest.mark.parametrize(
        ("archive", "security"),
        [
            ("http://m.example/debian", "http://s.example/debian-security"),
            ("https://m.example/pub/linux/debian", "https://m.example/pub/linux/debian-security"),
            ("http://m.example/debian/20260101T000000Z", "http://m.example/debian-security"),
        ],
    )
    def test_is_the_hosts_whatever_its_suite(
        self, host: Callable[[str], None], archive: str, security: str
    ) -> None:
        host(self.HOSTS.format(archive=archive, security=security))
        assert find_mirror()[:3] == (archive, security, "the host's apt sources")

    @pytest.mark.parametrize(
        ("setting", "expired"), [("'false'", True), ("'true'", False), ("", False)]
    )
    def test_its_lists_may_have_expired_if_the_hosts_apt_takes_them(
        self,
        host: Callable[[str], None],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        setting: str,
        expired: bool,
    ) -> None:
        host(self.HOSTS.format(archive="http://m/debian", security="http://m/debian-security"))
        config = tmp_path / "apt-config"
        config.write_text(f'#!/bin/sh\n[ -z "{setting}" ] || echo "$2={setting}"\n')
        config.chmod(0o755)
        assert find_mirror().may_be_expired is expired
        monkeypatch.setenv(MIRROR_VARIABLE, "http://mine/x")
        assert find_mirror().may_be_expired is False

    def test_may_be_in_a_list(self, host: Callable[[str], None], tmp_path: Path) -> None:
        lists = [tmp_path / "debian.list", tmp_path / "debian-security.list"]
        lists[0].write_text("# ours\nhttps://m.example/debian/ priority:1\nhttps://n/debian\n")
        host(self.HOSTS.format(archive=f"mirror+file:{lists[0]}", security=f"cdrom:/{lists[1]}"))
        assert find_mirror()[:2] == (
            "https://m.example/debian",
            "http://deb.debian.org/debian-security",
        )

    def test_is_debians_where_there_is_no_apt(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_mirror().said_by == "default"

    def test_is_the_one_of_this_hosts_apt(self, mirror: SmallMirror) -> None:
        """Asked in earnest."""
        assert mirror_module._hosts_mirror() == (f"file:{mirror.directory}/debian", "")

    def test_is_debians_on_another_host(self, host: Callable[[str], None]) -> None:
        host("'http://a.example/ubuntu/dists/noble/main/binary-amd64/Packages.xz' x 0 \n")
        assert find_mirror().said_by == "default"
        assert find_mirror().security == find_mirror().archive + "-security"

    def test_is_what_the_user_says(
        self, host: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host(self.HOSTS.format(archive="http://m/debian", security="http://m/debian-security"))
        monkeypatch.setenv(MIRROR_VARIABLE, "http://mine/x/")
        assert find_mirror() == (
            "http://mine/x",
            "http://m/debian-security",
            MIRROR_VARIABLE,
            False,
        )
        monkeypatch.setenv(MIRROR_VARIABLE, "http://mine/x file:/y")
        assert find_mirror() == ("http://mine/x", "file:/y", MIRROR_VARIABLE, False)

    @pytest.mark.parametrize(
        "text",
        ["/srv/debian", "http://a/x http://a/y http://a/z", "debian", "ftp://a/x", "http:/x"],
    )
    def test_that_is_none(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv(MIRROR_VARIABLE, text)
        with pytest.raises(
            InputError, match=f"^{MIRROR_VARIABLE}: must be the address of a mirror"
        ):
            find_mirror()
