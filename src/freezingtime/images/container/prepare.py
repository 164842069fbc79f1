# SPDX-License-Identifier: GPL-2.0-or-later
"""A container image's tree made a guest's root, and what its guest is told of the image.

What a container's runtime does before it starts a container: mount points, the files of ``/etc``
that say what the machine is called, the user of the image looked up in the image.
"""

from __future__ import annotations

import shlex
import stat
from dataclasses import dataclass
from importlib import resources

from freezingtime.errors import InputError
from freezingtime.images.container.content import Content
from freezingtime.images.container.documents import ImageSettings
from freezingtime.images.container.tree import Attributes, Entry, Node, Tree
from freezingtime.images.mini.initramfs import Initramfs

#: What a container's runtime sets where the image does not.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ROOT_HOME = "/root"

#: Made, and emptied where something is to be mounted that does not take over what was there.
_MOUNT_POINTS = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755, "tmp": 0o1777}
_EMPTIED = ("proc", "sys", "dev")
_JOB_DIRECTORY = "job"
_ETC = {"hostname": "guest\n", "hosts": "127.0.0.1 localhost guest\n", "resolv.conf": ""}
_TIME_S = 1_577_836_800

#: passwd and group are some KB; an image may hold anything.
_ACCOUNTS_BYTES_MAX = 4 << 20
_ID_MAX = (1 << 32) - 2

#: Where a guest's initramfs has what makes it a container's guest; its root is on /container.
_GUEST_FILES = {
    "ready-container": "usr/lib/freezingtime/ready-container",
    "start-job": "usr/lib/freezingtime/container/start-job",
}
_SETTINGS = "usr/lib/freezingtime/container/settings"
_ROOT = "container"


@dataclass(frozen=True, slots=True)
class _User:
    user_id: int
    group_id: int
    groups: tuple[int, ...]
    home: str


def prepare_root(tree: Tree, settings: ImageSettings) -> None:
    """Make what a container expects beside its image's files.

    Raises:
        InputError: the image has something else in the way.
    """
    for name, permissions in _MOUNT_POINTS.items():
        entry = tree.root.entries.get(name)
        if entry is None or not entry.node.is_directory:
            tree.root.entries[name] = Entry(_directory(permissions), 0)
        elif name in _EMPTIED:
            entry.node.entries.clear()
    tree.root.entries.setdefault(_JOB_DIRECTORY, Entry(_directory(0o755), 0))
    for path in (settings.working_directory, *settings.volumes):
        if tree.find(path) is None:
            tree.add(path, _directory(0o755))
    etc = tree.directory(["etc"])
    for name, text in _ETC.items():
        etc.entries[name] = Entry(_text_file(text), 0)


def guest_files(tree: Tree, settings: ImageSettings) -> bytes:
    """Return the files that turn the mini guest's initramfs into this image's guest.

    Raises:
        InputError: the image's user is not in it.
    """
    image = Initramfs()
    image.add_directory(_ROOT)
    guest = resources.files("freezingtime.vm") / "guest"
    for source, place in _GUEST_FILES.items():
        image.add_file(place, (guest / source).read_bytes(), 0o755)
    user = _find_user(tree, settings.user)
    image.add_file(_SETTINGS, _settings_script(settings, user).encode())
    return image.to_bytes()


def _settings_script(settings: ImageSettings, user: _User) -> str:
    """Assignments for a shell; what ``eval`` takes adds words in front of ``"$@"``."""
    given = {assignment.partition("=")[0] for assignment in settings.environment}
    environment = list(settings.environment)
    for name, value in (("PATH", _PATH), ("HOSTNAME", "guest"), ("HOME", user.home)):
        if name not in given:
            environment.append(f"{name}={value}")
    lines = {
        "image_user": f"+{user.user_id}:+{user.group_id}",
        "image_groups": ",".join(f"+{group}" for group in user.groups),
        "image_directory": settings.working_directory,
        "image_environment": _words(environment),
        "image_entrypoint": _words(settings.entrypoint),
        "image_command": _words(settings.command),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in lines.items())


def _words(words: list[str] | tuple[str, ...]) -> str:
    return f'set -- {shlex.join(words)} "$@"'


def _find_user(tree: Tree, text: str) -> _User:
    """Resolve ``USER`` of an image: ``NAME``, ``UID``, ``NAME:GROUP``, ``UID:GID``, or root.

    Raises:
        InputError: the image knows no such user or group.
    """
    name, _, group = text.partition(":")
    users = _accounts(tree, "passwd", 7)
    groups = _accounts(tree, "group", 4)
    user = next((row for row in users if name in (row[0], row[2])), None)
    if not name:
        user = next((row for row in users if row[2] == "0"), None)
        name = "0"
    if user is None and not name.isdecimal():
        raise InputError(f"its user {name!r} is not in its /etc/passwd")
    user_id = _id(name if user is None else user[2], name)
    home = "/" if user is None else user[5] or "/"
    if user is None and user_id == 0:
        home = _ROOT_HOME
    if group:
        row = next((row for row in groups if group in (row[0], row[2])), None)
        if row is None and not group.isdecimal():
            raise InputError(f"its group {group!r} is not in its /etc/group")
        return _User(user_id, _id(group if row is None else row[2], group), (), home)
    if user is None:
        return _User(user_id, 0, (), home)
    others = [_id(row[2], row[0]) for row in groups if user[0] in row[3].split(",")]
    return _User(user_id, _id(user[3], user[0]), tuple(sorted(set(others))), home)


def _id(text: str, name: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 10 or int(text) > _ID_MAX:
        raise InputError(f"{name!r} of its /etc/passwd or /etc/group has an invalid number")
    return int(text)


def _accounts(tree: Tree, name: str, field_count: int) -> list[list[str]]:
    """The well-formed lines of one of the files of accounts; none, if it is not there."""
    node = tree.find(["etc", name])
    if node is None or node.content is None:
        return []
    if node.content.size_bytes > _ACCOUNTS_BYTES_MAX:
        raise InputError(f"its /etc/{name} has {node.content.size_bytes} bytes")
    text = b"".join(node.content.pieces())
    rows = [line.split(":") for line in text.decode(errors="replace").splitlines()]
    return [row for row in rows if len(row) == field_count]


def _directory(permissions: int) -> Node:
    return Node(stat.S_IFDIR, Attributes(permissions, time_s=_TIME_S))


def _text_file(text: str) -> Node:
    content = Content(text.encode(), 0, len(text.encode())) if text else None
    return Node(stat.S_IFREG, Attributes(0o644, time_s=_TIME_S), content)
