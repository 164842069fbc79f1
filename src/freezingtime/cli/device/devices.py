# SPDX-License-Identifier: GPL-2.0-or-later
"""`freezingtime devices`: the catalogue, and what a model predicts beside what is published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from freezingtime.cli.device.devices_list import Selection, list_devices
from freezingtime.cli.options import AllowCodeOption, JsonOption, command_app
from freezingtime.cli.output.json_stream import print_json
from freezingtime.device.registry import describe, is_device
from freezingtime.errors import InputError
from freezingtime.option import Argument, Option, Values


def devices_command(
    name: Annotated[
        Sequence[str],
        Argument(
            "NAME|PATTERN",
            "A device of the catalogue, a file `NAME.toml`, your own `module:Class`, or "
            "`constant:TIME`; or a pattern to match names, classes and summaries in the catalogue.",
            values=Values.DEVICE,
        ),
    ] = (),
    plot: Annotated[
        Path | None,
        Option(
            "FILE",
            "Plot latency over queue depth, and its distribution, into a .svg, .png "
            "or .pdf, and write rates of SSDs with an SLC cache; up to six devices in one figure.",
        ),
    ] = None,
    device_class: Annotated[
        str | None,
        Option(
            "CLASS",
            "List only devices of a class, such as `flash`.",
            flag="--class",
            values=Values.DEVICE_CLASS,
        ),
    ] = None,
    min_capacity: Annotated[
        str | None, Option("SIZE", "List only devices of at least this capacity, such as `1TB`.")
    ] = None,
    sort: Annotated[
        str | None,
        Option(
            "KEY",
            "Sort the list by `name`, `class` or `capacity`, or by a latency of random 4 KiB "
            "reads, one at a time, which is simulated and shown: `mean`, `p50`, `p99`, `p99.9`.",
        ),
    ] = None,
    schema: Annotated[
        bool,
        Option("", "Print the JSON Schema of device descriptions, for editors, and nothing else."),
    ] = False,
    as_json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> int:
    """List the catalogue's devices, or show some: parameters, sources, predictions.

    With a PATTERN, such as `optane` or `samsung-*`, list the matching devices. Predictions are
    simulations of the model itself, beside the published figures. An SSD with an SLC cache is
    also filled: its write rate over what was written shows the cliff.

    Example: `freezingtime devices samsung-pm883-960gb aws-gp3 --plot latency.svg`, or
    `freezingtime devices --class flash --min-capacity 1TB --sort p99`
    """
    if schema:
        from freezingtime.device.toml.json_schema import device_schema

        print_json(device_schema())
        return 0
    selection = Selection.parse(device_class, min_capacity, sort)
    if plot is None and (selection or not name or not all(map(is_device, name))):
        list_devices(name, selection, as_json=as_json)
        return 0
    # Simulations and figures take long to import, and a list needs neither.
    from freezingtime.cli.device.described.detail import show_devices
    from freezingtime.cli.device.described.plot import check_plot, plot_devices
    from freezingtime.predict.fill import predict_fill
    from freezingtime.predict.predict import predict

    if plot is not None:
        if selection:
            raise InputError(
                f"--plot {plot}: name the devices to plot, without --class, --min-capacity or "
                "--sort"
            )
        check_plot(name, plot)
    descriptions = [describe(text) for text in dict.fromkeys(name)]
    predicted = [(each, predict(each), predict_fill(each)) for each in descriptions]
    if plot is not None:
        fills = {each.name: fill for each, _, fill in predicted if fill is not None}
        plot_devices(descriptions, fills, plot)
    show_devices(predicted, as_json=as_json)
    return 0


app = command_app(devices_command)
