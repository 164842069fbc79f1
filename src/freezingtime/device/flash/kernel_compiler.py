# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile a large model's kernels once, together, instead of each with all that it calls.

Numba makes every function callable from Python: each is optimised with all that it calls, and
all that calls it does so again; each becomes machine code. Of a model of 200 functions Python
calls a few. So there are two decorators in place of ``numba.njit``:

- :func:`inner`: called by other kernels only. It stays the compiler's intermediate code.
- :func:`entry`: called from Python. With all that it calls it is linked, optimised and translated,
  once; nobody else sees those functions, so that what is called once goes into its caller.

This uses numba's ``pipeline_class`` (its documentation: "Customizing the compiler") with code
libraries that put linking off, which are no part of its interface: with a version of numba that it
has not been tried with, kernels are compiled one by one, to the same results. Divisions by zero
are not looked for: kernels must not divide by what may be zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Whose types know nothing of all its options.
_njit: Any = njit
_KNOWN_NUMBA = "0.68."
#: Else each kernel is compiled by itself.
LINKS_LATE = numba.__version__.startswith(_KNOWN_NUMBA)
_ERROR_MODEL = "numpy"


class _InnerLibrary(JITCodeLibrary):
    """One function as intermediate code, neither linked nor optimised."""

    def finalize(self) -> None:
        self._finalized = True

    def add_linking_library(self, library: Any) -> None:
        library._ensure_finalized()
        self._linking_libraries.append(library)

    def _get_module_for_linking(self) -> Any:
        raise RuntimeError(f"{self.name} is an inner kernel: only an entry may call it")


class _EntryLibrary(JITCodeLibrary):
    """A function that Python calls, with all inner ones that it needs."""

    def finalize(self) -> None:
        inner, others = self._libraries()
        for library in inner:
            self._final_module.link_in(library._final_module, preserve=True)
        for library in inner:
            for function in library._final_module.functions:
                if not function.is_declaration:
                    self._final_module.get_function(function.name).linkage = "internal"
        self._linking_libraries = others
        super().finalize()

    def _libraries(self) -> tuple[list[Any], list[Any]]:
        """The inner libraries that are needed, and the others, each once."""
        inner: dict[Any, None] = {}
        others: dict[Any, None] = {}
        pending = list(self._linking_libraries)
        while pending:
            library = pending.pop()
            if not isinstance(library, _InnerLibrary):
                others[library] = None
            elif library not in inner:
                inner[library] = None
                pending += library._linking_libraries
        return list(inner), list(others)


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(NativeLowering):
    """Lower a function to intermediate code, and let other kernels find that."""

    _name = "inner_kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        library = _InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library = library
        state.flags.no_compile = True
        super().run_pass(state)
        library.finalize()
        # What calls it knows it by a builtin of its own, which Python cannot call with success.
        key = dict[str, Any]().__getitem__
        state.targetctx.insert_user_function(key, state.cr.fndesc, [library])
        state.cr = state.cr._replace(cfunc=key)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(NativeLowering):
    """Lower a function that Python calls; all inner ones come into its library."""

    _name = "entry_kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


def _pipelines(state: Any, lowering: type) -> list[Any]:
    """Numba's own pipeline with another way of lowering."""
    pipeline = DefaultPassBuilder.define_nopython_pipeline(state)
    pipeline.passes = [
        (lowering if each is NativeLowering else each, text) for each, text in pipeline.passes
    ]
    pipeline._finalized = False
    pipeline.finalize()
    return [pipeline]


class _InnerCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        return _pipelines(self.state, _InnerLowering)


class _EntryCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        return _pipelines(self.state, _EntryLowering)


def inner(function: _Function) -> _Function:
    """Compile a function that only other kernels call, with the types that they call it with."""
    options: dict[str, Any] = {"error_model": _ERROR_MODEL}
    if LINKS_LATE:
        options |= {
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
            "pipeline_class": _InnerCompiler,
        }
    decorated: _Function = _njit(**options)(function)
    return decorated


def entry(signature: str | None = None) -> Callable[[_Function], _Function]:
    """Compile a function that Python calls, and keep what comes of it.

    With a signature that is done at once, else when it is called first.
    """
    options: dict[str, Any] = {"cache": True, "error_model": _ERROR_MODEL}
    if LINKS_LATE:
        options["pipeline_class"] = _EntryCompiler
    decorator: Callable[[_Function], _Function] = _njit(signature, **options)
    return decorator
