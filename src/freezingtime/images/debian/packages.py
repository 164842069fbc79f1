# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages without root: the host's apt, with a configuration and a state of its own.

Of the host's apt configuration it has how to reach a server (proxies, time-outs, passwords).
Nothing is installed; packages are downloaded (apt checks their signatures) and unpacked.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from freezingtime.errors import InputError, RunError
from freezingtime.images.debian.mirror import KEYRING_VARIABLE, MIRROR_VARIABLE
from freezingtime.images.debian.tools import is_out_of_space, run_tool, tool_failure

#: What is being done, and how many of how many parts of it are done.
Progress: TypeAlias = Callable[[str, int, int], None]

#: What it is called at Debian's and its derivatives' alike.
KEYRING_PACKAGE = "debian-archive-keyring"

_ARCHITECTURE = "amd64"
_TOOLS = ("apt-get", "apt-cache", "apt-config", "dpkg-deb")
_SOURCES_FILE = "suite.sources"
#: Of the host's settings for fetching, those that say what is fetched and what is trusted.
_NOT_THE_HOSTS = re.compile(r"Acquire::(IndexTargets|Languages|Allow\w+Repositories)\b")

#: What apt says first of a signature that is none of its keys': anew, with earlier lists, apt 3.
_UNSIGNED = re.compile(
    r"^W: ((?:GPG error|An error occurred during the signature|OpenPGP signature).*)", re.MULTILINE
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Package:
    """The version of a package that apt would install.

    ``depends`` has the first alternative of each dependency, ``provides`` further names.
    """

    name: str
    version: str
    architecture: str
    section: str
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which apt-get stores the package."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True)
class AptSources:
    """Where the packages of a suite come from: addresses, and which part of the archive there.

    All parts are signed with a key of ``keyring``. ``said_by`` tells whose choice the addresses
    are; the packages of ``preferred`` are taken before those of other parts.
    """

    suite: str
    parts: tuple[tuple[str, str], ...]
    keyring: Path
    said_by: str
    preferred: str | None = None

    def to_deb822(self) -> str:
        """The text of a file of apt's, see sources.list(5)."""
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {part}\nComponents: main\n"
            f"Signed-By: {self.keyring}\n"
            for uri, part in self.parts
        )


class PackageArchive:
    """Debian's packages, as ``sources`` offer them; without, as the host's apt sources do.

    ``directory`` keeps the lists and the downloaded packages; the caller sees to it that
    no other process uses it at the same time.

    Raises InputError when this is no system with apt.
    """

    def __init__(self, directory: Path, sources: AptSources | None) -> None:
        self.require_tools()
        self._sources = sources
        self._debs = directory / "debs"
        self._lists = directory / "lists"
        self._temporary = directory / "temporary"
        self._configuration = directory / "apt.conf"
        self._update_complaint = ""
        self._prepare(directory)

    @staticmethod
    def require_tools() -> None:
        """Raise InputError when this is no system with apt."""
        for tool in _TOOLS:
            if shutil.which(tool) is None:
                raise InputError(
                    f"{tool} is not there: building a guest image takes a Debian system "
                    "(or a container of one); images may be copied between machines"
                )

    def _prepare(self, directory: Path) -> None:
        # What apt keeps in TMPDIR stays there when apt is killed: here the next build removes it.
        shutil.rmtree(self._temporary, ignore_errors=True)
        for part in ("lists/partial", "archives/partial", "debs", "temporary"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()
        dump = ["apt-config", "dump", "--format", '%F "%v";%n']
        hosts = [
            line
            for part in ("Acquire", "Dir::Etc")
            for line in run_tool([*dump, part]).stdout.splitlines()
            if not _NOT_THE_HOSTS.match(line)
        ]
        settings = _settings(directory)
        if self._sources is not None:
            (directory / _SOURCES_FILE).write_text(self._sources.to_deb822(), encoding="utf-8")
            settings |= _source_settings(directory, self._sources)
        ours = [f'{key} "{value}";' for key, value in settings.items()]
        self._configuration.touch(mode=0o600)  # a proxy's password may be among it
        self._configuration.write_text("\n".join([*hosts, *ours, ""]), encoding="utf-8")

    def update(self) -> None:
        """Fetch the lists of packages.

        A suite that cannot be reached is not fatal if all of its lists are there from earlier,
        a source of the host's not as long as the others have what is asked for later.

        Raises:
            InputError: there is no such suite.
            RunError: its lists cannot be had, or are not signed as they should be; no space.
        """
        result = self._apt("apt-get", "update", "--quiet", check=False)
        if is_out_of_space(result):
            raise tool_failure(["apt-get", "update"], result)
        output = result.stdout + result.stderr
        complaints = re.findall(r"^(?:E:|Err:|W: Failed).*", output, re.MULTILINE)
        self._update_complaint = complaints[-1] if complaints else ""
        if complaints and self._sources is not None:
            self._require_lists(self._sources, output)

    def _require_lists(self, sources: AptSources, output: str) -> None:
        """Say what is wrong when not all lists of a suite could be fetched."""
        whose = f"(the mirror's address is from {sources.said_by})"
        if absent := re.search(r"^E: The repository '(.*) Release' does not have", output, re.M):
            raise InputError(
                f"suite {sources.suite}: there is no {absent[1]} {whose}; "
                "choose another suite, such as bookworm or trixie, or another mirror "
                f"with {MIRROR_VARIABLE}"
            )
        problem = _first_complaint(output)
        if unsigned := _UNSIGNED.search(output):
            raise RunError(
                f"suite {sources.suite}: not signed with a key of {sources.keyring} "
                f"({unsigned[1]}): update the package {KEYRING_PACKAGE}, or name another keyring "
                f"with {KEYRING_VARIABLE}"
            )
        if not self._has_all_lists():
            raise RunError(
                f"suite {sources.suite}: cannot fetch its package lists ({problem}): check the "
                f"network and the mirror {whose}"
            )
        _log.warning("suite %s: goes by earlier package lists (%s)", sources.suite, problem)

    def _has_all_lists(self) -> bool:
        """Whether the lists of all parts are there, from now or from earlier."""
        printed = self._apt("apt-get", "--print-uris", "update").stdout
        names = re.findall(r"^'\S+/InRelease' (\S+) ", printed, re.MULTILINE)
        return all((self._lists / name).is_file() for name in names)

    def candidates(self, names: Iterable[str]) -> dict[str, Package]:
        """What apt would install for each of ``names``; unknown and virtual ones are left out."""
        wanted = sorted(set(names))
        shown = self._apt("apt-cache", "show", "--no-all-versions", *wanted, check=False).stdout
        packages = (_parse_package(paragraph) for paragraph in shown.split("\n\n") if paragraph)
        return {package.name: package for package in packages}

    def candidate(self, name: str) -> Package:
        """What apt would install for ``name``.

        Raises InputError when there is no such package, RunError when that may be since
        the lists could not be fetched.
        """
        package = self.candidates([name]).get(name)
        if package is not None:
            return package
        if self._update_complaint:
            raise RunError(
                f"cannot fetch apt's package lists ({self._update_complaint}): "
                "check the network and apt's proxy settings"
            )
        raise InputError(
            f"apt knows no package {name} for {_ARCHITECTURE}: "
            "apt's sources must include Debian's main section, release 12 or newer"
        )

    def with_dependencies(self, names: Iterable[str]) -> list[Package]:
        """What apt would install for ``names`` (or patterns) on an empty system, sorted by name.

        Raises InputError when apt knows no such package, or cannot fulfil its dependencies.
        """
        wanted = list(names)
        planned = self._apt(
            *("apt-get", "install", "--simulate", "--quiet", "--no-install-recommends"),
            *wanted,
            check=False,
        )
        if planned.returncode != 0:
            unknown = re.findall(r"^E: (.*)", planned.stderr, re.MULTILINE)
            problem = unknown[0] if unknown else "apt gives no reason"
            if self._update_complaint:
                problem = f"{problem}; {self._update_complaint}"
            raise InputError(f"apt cannot install what is asked for: {problem}")
        installed = re.findall(r"^Inst (\S+) ", planned.stdout, re.MULTILINE)
        packages = self.candidates(name.partition(":")[0] for name in installed)
        return [packages[name] for name in sorted(packages)]

    def write_repository(self, packages: Iterable[Package], directory: Path) -> None:
        """Make ``directory`` a flat repository of ``packages``, all downloaded."""
        files = {package.name: package for package in packages}
        shown = self._apt("apt-cache", "show", "--no-all-versions", *files).stdout
        paragraphs = []
        for paragraph in filter(None, shown.split("\n\n")):
            package = files[_parse_package(paragraph).name]
            (deb,) = self.download([package])
            (directory / f"{package.name}.deb").symlink_to(deb)
            paragraphs.append(
                re.sub(r"^Filename: .*", f"Filename: ./{package.name}.deb", paragraph, flags=re.M)
            )
        (directory / "Packages").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")

    def download(self, packages: Iterable[Package]) -> list[Path]:
        """The packages' files, in the given order, downloaded unless they are there already."""
        wanted = list(packages)
        absent = [package for package in wanted if not self._is_downloaded(package)]
        if absent:
            versions = [f"{package.name}={package.version}" for package in absent]
            self._apt("apt-get", "download", "--quiet", *versions)
        for package in absent:
            if not self._is_downloaded(package):
                raise RunError(f"apt-get did not download {package.file_name} as it was announced")
        return [self._debs / package.file_name for package in wanted]

    def forget_all_but(self, packages: Iterable[Package]) -> None:
        """Delete the downloaded files of all other packages."""
        kept = {package.file_name for package in packages}
        for deb in self._debs.glob("*.deb"):
            if deb.name not in kept:
                deb.unlink()

    def _is_downloaded(self, package: Package) -> bool:
        deb = self._debs / package.file_name
        return deb.exists() and _sha256(deb) == package.sha256

    def _apt(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            "APT_CONFIG": str(self._configuration),
            "TMPDIR": str(self._temporary),
        }
        return run_tool(arguments, environment=environment, directory=self._debs, check=check)


def unpack(deb: Path, directory: Path) -> None:
    """Unpack the files of the package ``deb`` into ``directory``, over what is there."""
    run_tool(["dpkg-deb", "--extract", str(deb), str(directory)])


def _settings(directory: Path) -> dict[str, object]:
    """Settings that the host's own do not change.

    The host's own are left out since they may run commands on its own caches.
    """
    return {
        "APT::Architecture": _ARCHITECTURE,
        "APT::Architectures": _ARCHITECTURE,
        "APT::Sandbox::User": "",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
        "Dir::State": directory,
        "Dir::State::lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory,
        "Dir::Cache::srcpkgcache": "",
        "Dir::Cache::archives": directory / "archives",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
    }


def _source_settings(directory: Path, sources: AptSources) -> dict[str, object]:
    """Settings by which a suite's sources are all that there is, and its own preferences."""
    settings: dict[str, object] = {
        "Dir::Etc::sourcelist": directory / _SOURCES_FILE,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": "/dev/null",
    }
    if sources.preferred is not None:
        settings["APT::Default-Release"] = sources.preferred
    return settings


def _first_complaint(output: str) -> str:
    """What apt says is wrong, in its own words."""
    complaints = re.findall(r"^(?:E|W): (.*)", output, re.MULTILINE)
    complaints += re.findall(r"^Err:.*", output, re.MULTILINE)
    return str(complaints[0]).strip() if complaints else "apt gives no reason"


def _parse_package(paragraph: str) -> Package:
    fields = dict(re.findall(r"^([\w-]+): *(.*)$", paragraph, re.MULTILINE))
    depends = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        section=fields.get("Section", ""),
        depends=tuple(_relation_names(depends)),
        provides=tuple(_relation_names(fields.get("Provides", ""))),
        sha256=fields["SHA256"],
    )


def _relation_names(relations: str) -> Iterator[str]:
    """The names in ``a (>= 1) | b, c:any``: of alternatives the first."""
    for relation in relations.split(","):
        name = re.match(r"[\w.+-]+", relation.strip())
        if name is not None:
            yield name[0]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
