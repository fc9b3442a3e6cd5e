"""Models of one cell served side by side on one device, taking turns; ratios to the plain one.

For: `gpu.py`'s "serving" cells. Weights are vLLM's dummies: nothing is saved or read but a
configuration. How an engine is timed is `_serving_engine.py`'s.
Not for: quality, and not for processors, whose numbers `serving.py` has.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _ratios
from _gpu_cells import BASE, PLAIN, SHAPES, GpuCell, ServedVariant
from _gpu_rows import RowFile
from _serving_engine import BATCHED, MEASURES, NEW_TOKENS, ServedModel

# A batch of one, of a few, and a full cache.
GRAPHS = [1, 8, 64]


def save_config(cell: GpuCell, variant: ServedVariant, folder: Path) -> Path:
    """Write `config.json` of a variant, hybrid 4:1 with window N / (2 P^2)."""
    from transformers import LlamaConfig

    from model_adapters import IHAConfig

    sizes = SHAPES[cell.shape] | BASE
    layers = range(sizes["num_hidden_layers"])
    path = folder_of(folder, variant.label)
    if variant.pseudo_heads is None:
        config: Any = LlamaConfig(**sizes, architectures=["LlamaForCausalLM"])
    else:
        config = IHAConfig(
            **sizes,
            architectures=["IHALlamaForCausalLM"],
            num_pseudo_heads=variant.pseudo_heads,
            # Groups of five, the last one cut where the number of layers says so.
            iha_layer_types=["full" if layer % 5 == 4 else "iha_sliding" for layer in layers],
            iha_window=max(1, cell.context // (2 * variant.pseudo_heads**2)),
        )
    config.save_pretrained(path)
    return path


def folder_of(folder: Path, label: str) -> Path:
    """Where a variant's configuration stands."""
    return folder / label.replace(" ", "-").replace(",", "")


def engine_arguments(
    cell: GpuCell, variant: ServedVariant, folder: Path, device: str
) -> dict[str, Any]:
    """What `vllm.LLM` is given."""
    usual: dict[str, Any] = {
        "model": str(folder),
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "dtype": "bfloat16",
        "max_model_len": cell.context + 2 * NEW_TOKENS,
        "max_num_batched_tokens": 4096,
        "max_num_seqs": 64,
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": cell.cache,
        "kv_transfer_config": {"kv_connector": "DecodeBenchConnector", "kv_role": "kv_both"},
    }
    if device == "cuda":
        usual |= {
            "attention_backend": "FLASH_ATTN",
            # Of the memory that is free at the start, which the others' share is taken from.
            "gpu_memory_utilization": 0.25,
            # Compiling takes longer than all that is measured, and both do without it.
            "compilation_config": {
                "mode": 0,
                "cudagraph_mode": "FULL_DECODE_ONLY",
                "cudagraph_capture_sizes": GRAPHS,
            },
        }
    else:
        usual |= {"enforce_eager": True, "max_num_seqs": 16, "max_num_batched_tokens": 256}
    return usual | variant.engine


class GpuServedModel(ServedModel):
    """An engine with a given cell's arguments, measured as `serving.py` measures.

    Args:
        cell: the cell.
        arguments: of `vllm.LLM`.
    """

    def __init__(self, cell: GpuCell, arguments: dict[str, Any]) -> None:
        from vllm import LLM

        self.context, self.now = cell.context, time.perf_counter
        self.batched_tokens = arguments["max_num_batched_tokens"]
        began = self.now()
        self.llm = LLM(**arguments)
        self.startup = self.now() - began
        self.engine = self.llm.llm_engine
        self.scheduler = self.engine.engine_core.engine_core.scheduler
        self.connector = self.scheduler.connector.connector_scheduler
        self.fill = self.connector.get_num_new_matched_tokens
        self.held = 0
        self.most = arguments["max_num_seqs"]

    def measure(self, measure: str, seed: int) -> float:
        """Tokens per second; a full cache means as many requests as any of the models holds."""
        if measure != BATCHED:
            return super().measure(measure, seed)
        # Many times vLLM's own figure may run, which charges each for whole steps.
        count = min(self.most, max(4, 8 * int(self.facts()["requests_by_vllms_own_figure"])))
        return self.decode(count, seed)


def serve(
    cell: GpuCell, variant: ServedVariant, folder: Path, device: str, line: Connection
) -> None:
    """A process's life: start an engine, then measure what is asked until told to stop."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    served = GpuServedModel(cell, engine_arguments(cell, variant, folder, device))
    line.send("ready")
    while (order := line.recv()) is not None:
        line.send(served.facts() if order == "facts" else served.measure(*order))


def wanted(cell: GpuCell) -> list[tuple[str, str, int, str]]:
    """Key, measure, round and model of every rate, in the order of measuring; round 0 warms up."""
    return [
        (f"{measure}, round {repeat}, {variant.label}", measure, repeat, variant.label)
        for measure in MEASURES
        for repeat in range(cell.repeats + 1)
        for variant in cell.variants
    ]


def run(cell: GpuCell, device: str, rows: RowFile) -> None:
    """Rates by measure, round and model, and facts by model.

    What was measured before stays; the models' first round of each measure is gone through again.
    """
    left = {measure for key, measure, _, _ in wanted(cell) if key not in rows.rows}
    if not all(f"facts, {variant.label}" in rows.rows for variant in cell.variants):
        # How many requests are held shows when the cache is filled.
        left.add(BATCHED)
    if not left:
        return
    spawn = multiprocessing.get_context("spawn")
    lines: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in cell.variants:
            here, there = spawn.Pipe()
            path = save_config(cell, variant, Path(folder))
            arguments = (cell, variant, path, device, there)
            # Daemons end when this process does; `gpu.py` ends both when time is up.
            spawn.Process(target=serve, args=arguments, daemon=True).start()
            there.close()
            lines[variant.label] = here
        # An engine that ends closes its line; one that says nothing is `gpu.watched`'s to end.
        # All start at once: no engine measures free memory where the size of its cache is given.
        for line in lines.values():
            line.recv()
            rows.step()
        for key, measure, repeat, label in wanted(cell):
            if measure not in left or (repeat and key in rows.rows):
                continue
            lines[label].send((measure, 100 + repeat))
            rate = lines[label].recv()
            about = {"measure": measure, "round": repeat, "model": label}
            if key in rows.rows:
                rows.step()
            else:
                rows.add(key, about | {"rate": rate})
            if measure == BATCHED and not repeat:
                lines[label].send("facts")
                least = needed(Path(folder), label, cell)
                facts = lines[label].recv() | {"kv_bytes_per_token_needed": least}
                rows.add(f"facts, {label}", {"facts_of": label} | facts)
        for line in lines.values():
            line.send(None)


def needed(folder: Path, label: str, cell: GpuCell) -> float:
    """Bytes of KV cache per token that the mechanism keeps."""
    from transformers import AutoConfig

    from model_adapters.cost import model_shape

    config = AutoConfig.from_pretrained(folder_of(folder, label))
    return float(model_shape(config).kv_bytes(cell.context, 2) / cell.context)


def table(cell: GpuCell, measured: dict[str, Any]) -> str:
    """Markdown: the plain model's numbers, and the others' ratios round by round."""
    names = [variant.label for variant in cell.variants if variant.label != PLAIN]
    lines = [
        f"| {cell.shape}, {cell.context} tokens | plain | "
        + " | ".join(f"{name} (min to max)" for name in names)
        + " |",
        "|---" * (2 + len(names)) + "|",
    ]
    rates = {
        (row["measure"], row["round"], row["model"]): row["rate"]
        for row in measured.values()
        if row.get("round")
    }
    for measure in MEASURES:
        rounds = [
            number
            for number in range(1, cell.repeats + 1)
            if all((measure, number, variant.label) in rates for variant in cell.variants)
        ]
        if not rounds:
            continue
        of = {
            variant.label: [rates[measure, number, variant.label] for number in rounds]
            for variant in cell.variants
        }
        cells = [f"{statistics.median(of[PLAIN]):.0f} tokens/s"]
        cells += [_ratios.cell(_ratios.ratios(of[name], of[PLAIN])) for name in names]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines + _facts(names, measured))


def _facts(names: list[str], measured: dict[str, Any]) -> list[str]:
    facts = {row["facts_of"]: row for row in measured.values() if "facts_of" in row}
    lines = []
    for key in (
        "kv_bytes_per_token_needed",
        "kv_bytes_per_token_of_requests_that_run",
        "kv_bytes_per_token_charged_to_the_next",
        "requests_held_at_once",
    ):
        plain = facts.get(PLAIN, {}).get(key)
        if plain and set(names) <= set(facts):
            ratios = [f"{facts[name][key] / plain:.2f}" for name in names]
            lines.append(f"| {key.replace('_', ' ')} | {plain:.0f} | {' | '.join(ratios)} |")
    return lines
