"""Configurations in which every pair of values of the format's fields occurs.

For: tests that hold implementations against each other over the product of the fields.
Not for: what the configuration refuses, which stands in `test_config.py`.
"""

import itertools
from typing import Any

from tiny_models import GLOBAL, HYBRID, MIXED

WINDOW_ROPE = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
Choice = tuple[str, dict[str, Any]]
FIELDS: dict[str, list[Choice]] = {
    "kinds": [("mixed", {}), ("hybrid", {}), ("global", {})],
    "pseudo": [(f"P{count}", {"num_pseudo_heads": count}) for count in (2, 3, 1)],
    "groups": [(f"G{count}", {"num_key_value_heads": count}) for count in (2, 4, 1)],
    "rope": [(f"rope-{kind}", {"pseudo_rope": kind}) for kind in ("virtual", "token", "none")],
    "mask": [
        ("virtual-mask", {}),
        ("token-edge", {"pseudo_window": "token"}),
        ("token-mask", {"pseudo_window": "token", "pseudo_causal": "token"}),
    ],
    "window": [
        ("W17", {"iha_window": 17}),
        ("slots", {"iha_window_virtual": 23}),
        ("windows", {"iha_window": [5, 17, 11, 5, 17]}),
    ],
    "norm": [
        ("no-norm", {}),
        ("head-norm", {"qk_norm": "head_before_mixing", "qk_norm_weight": "shared"}),
        ("own-norms", {"qk_norm": "head_before_mixing", "qk_norm_weight": "per_head"}),
        ("whole-norm", {"qk_norm": "projection_before_mixing", "qk_norm_weight": "projection"}),
        ("norm-after", {"qk_norm": "pseudo_head_after_rope", "qk_scale": 1.2}),
    ],
    "collapse": [("full", {}), ("per-head", {"collapse": "per_head"})],
    "gate": [("no-gate", {}), ("gate", {"head_gate_channels": 12})],
    "block": [
        ("before", {}),
        ("after", {"block_norm": "after", "window_rope_parameters": WINDOW_ROPE}),
    ],
}
KINDS = {"mixed": MIXED, "hybrid": HYBRID, "global": GLOBAL}
Case = tuple[Choice, ...]


def means(case: Case) -> bool:
    """Whether the configuration takes the choices together."""
    names = {name for name, _ in case}
    if "global" in names and not names & {"W17"}:
        return False
    return not ("slots" in names and names & {"token-edge", "token-mask"})


def pairs(case: Case) -> set[tuple[str, str]]:
    """All pairs of choices of a case, by name."""
    return set(itertools.combinations((name for name, _ in case), 2))


def pairwise() -> list[Case]:
    """Cases, chosen greedily, among which every pair of choices occurs that some case has."""
    cases = [case for case in itertools.product(*FIELDS.values()) if means(case)]
    missing = set().union(*map(pairs, cases))
    chosen = []
    while missing:
        best = max(cases, key=lambda case: len(pairs(case) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def name(case: Case) -> str:
    """For the test's output."""
    return "-".join(name for name, _ in case)


def fields(case: Case) -> tuple[list[str], dict[str, Any]]:
    """Kinds of layer and fields of the configuration, as `tiny_model` takes them."""
    kinds = KINDS[case[0][0]]
    made: dict[str, Any] = {}
    for _, changes in case:
        made |= changes
    windowed = [kind in ("iha_sliding", "sliding") for kind in kinds]
    if isinstance(made.get("iha_window"), list):
        windows = zip(made["iha_window"], windowed, strict=False)
        made["iha_window"] = [size if has else None for size, has in windows]
    elif "iha_window_virtual" in made:
        made["iha_window"] = 17 if "sliding" in kinds else None
    elif not any(windowed):
        made["iha_window"] = None
    return kinds, made
