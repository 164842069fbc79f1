# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparisons as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from freezingtime.results.judged import JudgedComparison


def to_json(judged: Sequence[JudgedComparison]) -> str:
    """All of the comparisons; ASCII, so that no terminal obeys what is in it."""
    document = {
        "a": str(judged[0].comparison.a.path),
        "comparisons": [_document(each) for each in judged],
    }
    return json.dumps(document, indent=2) + "\n"


def _document(judged: JudgedComparison) -> dict[str, Any]:
    comparison = judged.comparison
    return {
        "b": str(comparison.b.path),
        "identical": comparison.is_identical,
        "clocks": list(comparison.clocks),
        "valid": {"a": comparison.a.valid, "b": comparison.b.valid},
        "exit_status": {"a": comparison.a.exit_status, "b": comparison.b.exit_status},
        "unfit": list(judged.unfit),
        "plan": [{"key": d.key, "a": d.a, "b": d.b} for d in comparison.plan],
        "requests": {
            "compared": comparison.compared_count,
            "differing": comparison.differing_count,
        },
        "first_differing": [
            {
                "disk": request.disk,
                "number": request.number,
                "differing": request.differing,
                "a": request.a,
                "b": request.b,
            }
            for request in comparison.first_differing
        ],
        "metrics": [
            {
                "disk": found.key.disk or None,
                "operation": found.key.operation or None,
                "metric": found.key.metric,
                "unit": found.key.unit_text,
                "a": found.a,
                "b": found.b,
            }
            for found in comparison.metrics
        ],
        "phases": [
            {
                "condition": spread.condition.text,
                "figure": str(spread.key),
                "a": list(spread.a),
                "b": list(spread.b),
                "p_value": spread.p_value,
            }
            for spread in judged.spreads
        ],
        "failed": [
            {"condition": failure.condition.text, "figure": str(failure.found.key)}
            for failure in judged.failures
        ],
        "notes": list(judged.notes),
    }
