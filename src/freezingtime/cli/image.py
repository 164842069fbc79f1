"""`freezingtime image`: the guest images in the cache."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from freezingtime.cli.columns import print_columns
from freezingtime.errors import InputError
from freezingtime.machine.guest_image import build_mini_image, list_images, remove_image

app = typer.Typer(help="Build, list and remove guest images.")


class _Steps:
    """Prints each step once, with the time it began at."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._step = ""

    def __call__(self, step: str, _done: int, total: int) -> None:
        if step != self._step:
            elapsed_s = time.monotonic() - self._start_s
            print(f"freezingtime: {elapsed_s:5.1f} s  {step} ({total})", file=sys.stderr)
            self._step = step


@app.command("build")
def build_command(
    name: Annotated[str, typer.Argument(help="Which image; there is: mini.")] = "mini",
) -> int:
    """Build a guest image from Debian's packages, without root.

    Does nothing if the image of the newest packages is there already.
    """
    if name != "mini":
        raise InputError(f"image build {name}: unknown image; there is: mini")
    image = build_mini_image(_Steps())
    print(f"{image.name} {image.image_id[:12]} {image.directory}")
    return 0


@app.command("list")
def list_command() -> int:
    """List the images in the cache."""
    rows = [("name", "id", "kernel", "size", "directory")]
    for image in list_images():
        size_bytes = image.manifest.kernel_bytes + image.manifest.initrd_bytes
        size_mib = f"{size_bytes / (1 << 20):.1f} MiB"
        kernel = image.manifest.kernel_release
        rows.append((image.name, image.image_id[:12], kernel, size_mib, str(image.directory)))
    print_columns(rows)
    return 0


@app.command("remove")
def remove_command(
    name_or_id: Annotated[str, typer.Argument(help="A name, or the beginning of an id.")],
) -> int:
    """Remove images from the cache; the next run builds what it needs."""
    for image in remove_image(name_or_id):
        print(f"removed {image.name} {image.image_id[:12]}")
    return 0
