#!/usr/bin/env bash
# The report on what evaluate.sh wrote, and its verdicts as plain text:
#   examples/compare.sh [OUT [REPORT]]
set -euo pipefail
out=${1:-out} report=${2:-report}

iha-eval compare "$out/iha" "$out/baseline" --out "$report"
grep '^- ' "$report/report.md"
