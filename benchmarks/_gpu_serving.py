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
from _gpu_cells import BASE, PLAIN, SHAPES, Cell, Variant
from _serving_engine import BATCHED, MEASURES, NEW_TOKENS, Served

GRAPHS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
WAIT = 240


def save_config(cell: Cell, variant: Variant, folder: Path) -> Path:
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


def engine_arguments(cell: Cell, variant: Variant, folder: Path, device: str) -> dict[str, Any]:
    """What `vllm.LLM` is given."""
    usual: dict[str, Any] = {
        "model": str(folder),
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "dtype": "bfloat16",
        "max_model_len": cell.context + 2 * NEW_TOKENS,
        "max_num_batched_tokens": 4096,
        "max_num_seqs": 256,
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": cell.cache,
        "kv_transfer_config": {"kv_connector": "DecodeBenchConnector", "kv_role": "kv_both"},
    }
    if device == "cuda":
        usual |= {
            "attention_backend": "FLASH_ATTN",
            # Of the memory that is free at the start, which the others' share is taken from.
            "gpu_memory_utilization": 0.25,
            "compilation_config": {"cudagraph_capture_sizes": GRAPHS},
        }
    else:
        usual |= {"enforce_eager": True, "max_num_seqs": 16, "max_num_batched_tokens": 256}
    return usual | variant.engine


class GpuServed(Served):
    """An engine with a given cell's arguments, measured as `serving.py` measures.

    Args:
        cell: the cell.
        arguments: of `vllm.LLM`.
    """

    def __init__(self, cell: Cell, arguments: dict[str, Any]) -> None:
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


def serve(cell: Cell, variant: Variant, folder: Path, device: str, line: Connection) -> None:
    """A process's life: start an engine, then measure what is asked until told to stop."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    served = GpuServed(cell, engine_arguments(cell, variant, folder, device))
    line.send("ready")
    while (order := line.recv()) is not None:
        line.send(served.facts() if order == "facts" else served.measure(*order))


def run(cell: Cell, device: str) -> dict[str, Any]:
    """Rates by measure and model, and facts by model."""
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
        # All start at once: compiling is most of it, and no engine measures free memory where
        # the size of its cache is given.
        for line in lines.values():
            answer(line)
        rates: dict[str, dict[str, list[float]]] = {}
        for measure in MEASURES:
            rates[measure] = {label: [] for label in lines}
            for repeat in range(cell.repeats + 1):
                for label, line in lines.items():
                    line.send((measure, 100 + repeat))
                    rate = answer(line)
                    # The first round warms up.
                    if repeat:
                        rates[measure][label].append(rate)
        facts = {}
        for label, line in lines.items():
            line.send("facts")
            least = needed(Path(folder), label, cell)
            facts[label] = answer(line) | {"kv_bytes_per_token_needed": least}
            line.send(None)
    return {"rates": rates, "facts": facts}


def answer(line: Connection) -> Any:
    """What an engine's process says next.

    Raises:
        TimeoutError: it says nothing for minutes.
    """
    if not line.poll(WAIT):
        raise TimeoutError(f"an engine did not answer within {WAIT} s")
    return line.recv()


def needed(folder: Path, label: str, cell: Cell) -> float:
    """Bytes of KV cache per token that the mechanism keeps."""
    from transformers import AutoConfig

    from model_adapters.cost import model_shape

    config = AutoConfig.from_pretrained(folder_of(folder, label))
    return float(model_shape(config).kv_bytes(cell.context, 2) / cell.context)


def table(cell: Cell, result: dict[str, Any]) -> str:
    """Markdown: the plain model's numbers, and the others' ratios round by round."""
    names = [label for label in result["facts"] if label != PLAIN]
    lines = [
        f"| {cell.shape}, {cell.context} tokens | plain | "
        + " | ".join(f"{name} (min to max)" for name in names)
        + " |",
        "|---" * (2 + len(names)) + "|",
    ]
    for measure, rates in result["rates"].items():
        cells = [f"{statistics.median(rates[PLAIN]):.0f} tokens/s"]
        cells += [_ratios.cell(_ratios.ratios(rates[name], rates[PLAIN])) for name in names]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    for key in (
        "kv_bytes_per_token_needed",
        "kv_bytes_per_token_of_requests_that_run",
        "kv_bytes_per_token_charged_to_the_next",
        "requests_held_at_once",
    ):
        plain = result["facts"][PLAIN][key]
        if not plain:
            continue
        ratios = [f"{result['facts'][name][key] / plain:.2f}" for name in names]
        lines.append(f"| {key.replace('_', ' ')} | {plain:.0f} | {' | '.join(ratios)} |")
    return "\n".join(lines)
