#!/usr/bin/env bash
# Two models on the same documents:
#   examples/evaluate.sh [IHA [BASELINE [OUT]]]
# TASKS, LIMIT (documents a task) and MODEL (iha-vllm or iha-hf) may be set in the environment.
set -euo pipefail
iha=${1:-embedded-iha} baseline=${2:-embedded-baseline} out=${3:-out}

run() {
  lm_eval --model "${MODEL:-iha-vllm}" --model_args "pretrained=$2" --tasks "${TASKS:-ruler_mk_4k}" \
    --metadata '{"haystack": "kjv"}' --limit "${LIMIT:-5}" --output_path "$out/$1" --log_samples
}

run iha "$iha"
run baseline "$baseline"
