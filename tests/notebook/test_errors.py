# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors in a notebook: what is wrong and the cell's line, none of the places inside."""

from __future__ import annotations

import linecache

import pytest

import freezingtime as ft
from tests.conftest import skip

CELL = """
import freezingtime as ft

def go():
    return ft.replay("randread,count=1", ["samsng-870-evo"], progress=False)

go()
"""


WRONG = "InputError: --device samsng-870-evo: unknown device 'samsng-870-evo'"
LINE = '  in line 4: return ft.replay("randread,count=1", ["samsng-870-evo"], progress=False)'


def test_what_ipython_asks_an_error_for() -> None:
    name, text = "a cell", CELL.strip()
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    with pytest.raises(ft.InputError) as raised:
        exec(compile(text, name, "exec"), {})
    wrong, line = raised.value._render_traceback_()
    assert (wrong[: len(WRONG)], line) == (WRONG, LINE)


@pytest.mark.slow
def test_an_error_is_what_is_wrong_and_the_line_of_the_cell() -> None:
    try:
        import nbclient
        import nbformat
    except ImportError:
        skip("nbclient is not installed")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.strip())])
    nbclient.NotebookClient(notebook, timeout=60, allow_errors=True).execute()
    [error] = notebook.cells[0].outputs
    assert error["output_type"] == "error"
    assert error["ename"] == "InputError"
    wrong, line = error["traceback"]
    assert (wrong[: len(WRONG)], line) == (WRONG, LINE)
