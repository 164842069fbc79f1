#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Gates the checked-out commit; the inputs of the action are variables INPUT_NAME. Annotations go to
# stdout, a summary and the outputs where the service says.
set -eu

arguments=(--baseline-commit "$INPUT_BASELINE_COMMIT" --phases "$INPUT_PHASES")

# add_lines OPTION TEXT: OPTION with each line of TEXT; each line by itself without an OPTION.
add_lines() {
    local line
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        [ -z "$1" ] || arguments+=("$1")
        arguments+=("$line")
    done <<<"$2"
}

add_lines --disk "$INPUT_DISK"
add_lines --fail-if "$INPUT_FAIL_IF"
[ -z "$INPUT_SCRIPT" ] || arguments+=(--script "$INPUT_SCRIPT")
[ -z "$INPUT_JOB" ] || arguments+=(--job "$INPUT_JOB")
add_lines "" "$INPUT_ARGUMENTS"

# A checkout of one commit has no other.
if ! git rev-parse --verify --quiet "$INPUT_BASELINE_COMMIT^{commit}" >/dev/null; then
    # A new branch has no commit before: the service gives zeros.
    if ! git fetch --quiet --depth=1 origin "$INPUT_BASELINE_COMMIT"; then
        echo "::error title=freezingtime::there is no commit '$INPUT_BASELINE_COMMIT' to compare with; set baseline-commit"
        echo "verdict=error" >>"$GITHUB_OUTPUT"
        exit 2
    fi
fi

# A directory of its own: a job may have several gates.
place=$(mktemp -d "$RUNNER_TEMP/freezingtime-gate.XXXXXX")
report=$place/gate.xml
summary=$place/gate.md
status=0
freezingtime gate --quiet --format github --format "markdown=$summary" --format "junit=$report" \
    "${arguments[@]}" || status=$?

case $status in
    0) verdict=passed ;;
    1) verdict=failed ;;
    3) verdict=not-comparable ;;
    *) verdict=error ;;
esac
# Without a comparison there is no report: the run itself failed, or the input is wrong.
if [ -e "$summary" ]; then
    cat "$summary" >>"$GITHUB_STEP_SUMMARY"
    echo "report=$report" >>"$GITHUB_OUTPUT"
elif [ "$status" = 1 ]; then
    verdict=error
fi
echo "verdict=$verdict" >>"$GITHUB_OUTPUT"
exit "$status"
