"""How `iha-eval inspect` looks in a terminal: tables, then sentences.

For: a terminal of 80 columns and more. Not for: finding anything out (`gather.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iha_eval.util.numbers import MISSING, count, rate, size, there

Facts = Mapping[str, Any]

#: What a row of the comparison shows: its name, its place in `model` and `baseline`, how written.
ROWS = (
    ("parameters", ("parameters",), count),
    ("  of them alpha and collapse", ("mixing_parameters",), count),
    ("prefill FLOPs a token", ("prefill_flops", "total"), None),
    ("  projections", ("prefill_flops", "projections"), None),
    ("  alpha and collapse", ("prefill_flops", "mixing"), None),
    ("  attention", ("prefill_flops", "attention"), None),
    ("  MLP", ("prefill_flops", "mlp"), None),
    ("  output", ("prefill_flops", "head"), None),
    ("decode FLOPs a token", ("decode_flops", "total"), None),
    ("  attention", ("decode_flops", "attention"), None),
    ("KV bytes a token", ("kv_bytes_per_token",), size),
    ("KV bytes a request, exact", ("kv_bytes",), size),
    ("  in the blocks it fills", ("kv_bytes_filled",), size),
    ("  to be free to be let in", ("kv_bytes_charged",), size),
    ("weights", ("weight_bytes",), size),
    ("left for the KV cache", ("cache_bytes",), size),
    ("requests generating at once", ("requests",), count),
    ("  as vLLM lets them in", ("admitted",), count),
    ("tokens/s of one request", ("single_rate",), rate),
    ("tokens/s of all of them", ("full_rate",), rate),
)


_UNITS = ("", *(f"\N{NO-BREAK SPACE}{letter}" for letter in "kMGTP"))
_TIMES = "\N{MULTIPLICATION SIGN}"


def flops(value: float) -> str:
    """FLOPs with three figures and a unit: `12.3 M`."""
    power = 0
    # What rounds to 1000 belongs to the next unit.
    while abs(value) >= 999.5 * 1000**power and power + 1 < len(_UNITS):
        power += 1
    return f"{value / 1000**power:.3g}{_UNITS[power]}"


def ratio(model: Any, baseline: Any) -> str:
    """One as a multiple of the other."""
    if not (there(model) and there(baseline)) or not baseline:
        return MISSING
    return f"{model / baseline:.3g}{_TIMES}"


def comparison(facts: Facts) -> list[tuple[str, str, str, str]]:
    """The rows of model against baseline: name, model, baseline, ratio."""
    rows = []
    for name, place, write in ROWS:
        values = [_at(facts[role], place) for role in ("model", "baseline")]
        model, baseline = ((write or flops)(value) for value in values)
        rows.append((name, model, baseline, ratio(*values)))
    return rows


def kinds(facts: Facts) -> list[tuple[str, ...]]:
    """The rows of the table of kinds; numbers are of one layer."""
    return [
        (
            f"{len(layers['numbers'])} {_TIMES} {layers['kind'].replace('_', ' ')}",
            str(layers["pseudo_heads"]),
            count(layers["window"]),
            count(layers["parameters"]),
            count(layers["mixing_parameters"]),
            flops(layers["prefill_flops"]["total"]),
            flops(layers["decode_flops"]["total"]),
            size(layers["kv_bytes"]),
        )
        for layers in facts["layers"]
    ]


KINDS = ("layers", "P", "W", "parameters", "+ IHA", "prefill", "decode", "KV")

MIXING = ("layer", "q", "k", "v", "collapse", "rank q", "rank", "used", "dead")


def mixing(facts: Facts) -> list[tuple[str, ...]]:
    """The rows of the table of mixing weights: a row a layer."""
    rows = []
    for layer in facts["mixing"]["layers"]:
        collapse = layer["collapse"]
        pseudo = sum(map(len, collapse["masses"]))
        rows.append(
            (
                str(layer["layer"]),
                *(f"{layer[name]['distance']:.3f}" for name in ("alpha_q", "alpha_k", "alpha_v")),
                f"{collapse['distance']:.3f}",
                span(layer["alpha_q"]["effective_ranks"]),
                span(collapse["effective_ranks"]),
                span(collapse["used"]),
                f"{len(collapse['dead'])} of {pseudo}",
            )
        )
    return rows


def span(values: Sequence[float]) -> str:
    """Least and largest, once if they are the same."""
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}\N{EN DASH}{high}"


def headline(facts: Facts) -> str:
    """The checkpoint's sizes in a line."""
    identity = facts["checkpoint"]
    return (
        f"{identity['name']}: D {identity['hidden']}, H {identity['heads']}, "
        f"G {identity['kv_heads']}, d {identity['head_dim']}, MLP {identity['intermediate']}, "
        f"vocabulary {identity['vocabulary']:,}"
        f"{' (tied)' if identity['tied'] else ''}, {identity['dtype']}"
    )


def gpu_line(facts: Facts) -> str:
    """The GPU's and the engine's settings in a line."""
    gpu = facts["gpu"]
    return (
        f"GPU of {gpu['gpu_memory']:g} GB and {gpu['bandwidth']:g} GB/s, {gpu['utilization']:g} of "
        f"it used; vLLM with block_size {gpu['block_size']} and max_num_batched_tokens "
        f"{gpu['batched_tokens']}"
    )


def show(facts: Facts, console: Console) -> None:
    """Print everything.

    Args:
        facts: As `Inspection.as_dict` has them.
        console: Where to.
    """
    context = f"{facts['context']:,} tokens"

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(headline(facts))
    caption = f"of one layer; FLOPs a token and KV bytes a request at {context}"
    console.print(_table("Kinds of layer", KINDS, kinds(facts), caption))
    columns = ("", "this", "plain baseline", "ratio")
    console.print(_table(f"At {context}", columns, comparison(facts), gpu_line(facts)))
    if facts["mixing"]:
        caption = (
            "q, k, v: distance of alpha from identity, then the collapse's; rank: effective rank "
            "by pseudo-head, of alpha q and collapse; used: pseudo-heads that a head uses; dead: "
            f"with less than {facts['mixing']['dead_below']:g} of the most used one's weight"
        )
        console.print(_table("Alpha and collapse", MIXING, mixing(facts), caption))
    for note in facts["notes"]:
        say(f"note: {note}")
    for text in facts["conventions"]:
        say(text)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str
) -> Table:
    shown = Table(
        title=escape(title),
        caption=escape(caption),
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for place, name in enumerate(columns):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown


def _at(part: Any, place: Sequence[str]) -> Any:
    for name in place:
        part = part[name]
    return part
