"""Hub folders: the model's own source as flat modules beside its weights, a card, and results.

For: `iha-eval export-remote-code`. The modules are the package's, with their imports of each other
made relative, so there is no second copy to keep.
Not for: serving (vLLM needs the package), nor for uploading anything.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import model_adapters
from iha_eval import __version__
from iha_eval.data.known import GSM8K_TEST
from iha_eval.errors import UserError
from iha_eval.util.files import write_whole
from model_adapters import checkpoint
from model_adapters.config import IHAConfig, IHANanoChatConfig
from model_adapters.convert.output import PROVENANCE

#: Modules of the package, and their names in the folder.
MODULES = {
    "errors": "iha_errors",
    "config": "configuration_iha",
    "mixing": "iha_mixing",
    "hf.attention": "iha_attention",
    "hf.modeling": "modeling_iha",
}
#: Beside them, for models on nanochat.
NANOCHAT = {"hf.nanochat": "modeling_iha_nanochat"}
#: What the files say of themselves; whatever lacks it is another's and stays.
MARK = "made by iha-eval export-remote-code"
_IMPORT = re.compile(r"^from model_adapters\.([\w.]+) import", re.M)


def modules(config: IHAConfig) -> tuple[dict[str, str], dict[str, str]]:
    """File names and contents of the modules, each stamped with the version and its hash.

    Returns:
        Them, and `auto_map` for `config.json`.
    """
    package = Path(model_adapters.__file__).parent
    own = NANOCHAT if isinstance(config, IHANanoChatConfig) else {}
    made = {}
    for name, flat in (MODULES | own).items():
        source = (package / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        text = _IMPORT.sub(lambda match: f"from .{MODULES[match[1]]} import", source)
        digest = hashlib.sha256(source.encode()).hexdigest()
        stamp = f"# {MARK} {__version__} of model_adapters.{name}\n# sha256 {digest}\n"
        made[f"{flat}.py"] = stamp + text
    # The last of them has the model.
    auto_map = {
        "AutoConfig": f"configuration_iha.{type(config).__name__}",
        "AutoModelForCausalLM": f"{flat}.{config.architecture}",
    }
    return made, auto_map


def export(
    folder: Path, report: Path | None, data: str | None, command: Sequence[str]
) -> Iterator[str]:
    """Write everything.

    Args:
        folder: An IHA checkpoint.
        report: `report.json` with its results, or None.
        data: What it was trained on, in words.
        command: What was typed, for the card.

    Yields:
        What was written, a line a file.

    Raises:
        UserError: See the command.
    """
    contents = checkpoint.read(folder)
    if not isinstance(contents.config, IHAConfig):
        raise UserError(
            f"{folder} is a plain {contents.config.model_type}, which Transformers loads without "
            "code: export IHA checkpoints only."
        )
    results = None if report is None else _results(report, contents)
    files, auto_map = modules(contents.config)
    for name in files:
        if not _is_ours(folder / name):
            raise UserError(f"{folder / name} is not of this command: move it away first.")
    card = _card(contents, results, data, command)
    if _is_ours(folder / "README.md"):
        files["README.md"] = card
    else:
        files["README.iha.md"] = card
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Last, so that a folder that was written in part still loads as before.
    entries = [] if results is None else _eval_results(*results)
    try:
        for name, text in files.items():
            write_whole(folder / name, text)
            yield f"{folder / name}"
        if entries:
            (folder / ".eval_results").mkdir(exist_ok=True)
            write_whole(folder / ".eval_results" / "iha-eval.yaml", yaml.safe_dump(entries))
            yield f"{folder / '.eval_results' / 'iha-eval.yaml'}"
        text = json.dumps(config | {"auto_map": auto_map}, indent=2, sort_keys=True)
        write_whole(folder / "config.json", text + "\n")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): copy it first.") from error
    yield f"{folder / 'config.json'}: auto_map"
    if "README.md" not in files:
        yield f"{folder / 'README.md'} is yours and stays: the new card lies beside it."


def _is_ours(file: Path) -> bool:
    """Whether a file may be written: there is none, or this command has made it."""
    return not file.exists() or MARK in file.read_text(encoding="utf-8", errors="replace")


def _results(file: Path, contents: checkpoint.Checkpoint) -> tuple[dict[str, Any], str]:
    """A report, and which of its models the checkpoint is.

    Raises:
        UserError: It is no report, or of other models.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        models: dict[str, Any] = report["models"]
        prints = {side: models[side]["fingerprint"] for side in ("iha", "baseline")}
        _ = report["tables"], report["provenance"]["datasets"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{file} is no report.json of iha-eval compare ({error}): name that file."
        ) from error
    for side, fingerprint in prints.items():
        if fingerprint == contents.fingerprint:
            return report, side
    raise UserError(
        f"{file} is of models with the fingerprints {' and '.join(map(str, prints.values()))}, and "
        f"{contents.path} has {contents.fingerprint}: compare runs of this checkpoint."
    )


def _card(
    contents: checkpoint.Checkpoint,
    results: tuple[dict[str, Any], str] | None,
    data: str | None,
    command: Sequence[str],
) -> str:
    config: Any = contents.config
    kinds = ", ".join(dict.fromkeys(config.layer_kinds))
    head = yaml.safe_dump({"library_name": "transformers", "tags": ["iha", "custom_code"]})
    name = contents.path.resolve().name
    parts = [
        f"---\n{head}---\n<!-- {MARK} {__version__} -->\n\n# {name}",
        f"A language model with Interleaved Head Attention (arXiv:2602.21371): "
        f"{config.num_pseudo_heads} pseudo-heads a head, layers {kinds}, "
        f"{contents.num_parameters:,} parameters in {contents.weights_dtype}.",
        "```python\nfrom transformers import AutoModelForCausalLM\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{name}", trust_remote_code=True)\n```',
        "## Data",
        data or "What it was trained on is not stated.",
        *_origin(contents.path),
        *(_tables(*results) if results else []),
        "## Made by",
        f"```\n{shlex.join(command)}\n```\n\niha-eval {__version__}; fingerprint of weights and "
        f"configuration {contents.fingerprint}.",
    ]
    return "\n\n".join(parts) + "\n"


def _origin(folder: Path) -> list[str]:
    """What the conversion noted, if the checkpoint came of one and says so."""
    try:
        made = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        source = ", ".join(f"{name} {value}" for name, value in made["source"].items())
        return [f"It was made ({made['conversion']}) from: {source}."]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return []


def _tables(report: Mapping[str, Any], side: str) -> list[str]:
    """Results, what they were measured on, and how."""
    lines = ["| task | metric | questions | score | 95% interval |", "|---|---|---|---|---|"]
    for row in (row for table in report["tables"] for row in table["rows"]):
        low, high = row[f"{side}_low"], row[f"{side}_high"]
        between = "" if low is None else f"{low:.3f} to {high:.3f}"
        score = "" if row[side] is None else f"{row[side]:.3f}"
        lines.append(f"| {row['label']} | {row['metric']} | {row['n']} | {score} | {between} |")
    sources = [
        f"- {source['task']}: {source['source']}, sha256 {source['sha256']}"
        + (f"; {source['note']}" if source["note"] else "")
        for source in report["provenance"]["datasets"]
    ]
    model = report["models"][side]
    measured = f"Measured {model['date']} on {model['device']} with\n\n```\n"
    return [
        "## Results",
        "\n".join(lines),
        f"{measured}{shlex.join(model['command'])}\n```",
        "### Evaluation data",
        "\n".join(sources),
    ]


def _eval_results(report: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    """Entries as the hub keeps them, for benchmarks that it knows by a data set of its own."""
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError:
        return []
    # Any: the release of the hub's library that types are checked with need not have them.
    entry: Callable[..., Any] = EvalResultEntry
    made = [
        entry(
            dataset_id=GSM8K_TEST.repository,
            task_id="gsm8k",
            value=round(row[side], 4),
            date=report["models"][side]["date"],
            notes=f"{row['task']}, {row['metric']}, {row['n']} questions, iha-eval {__version__}",
        )
        for table in report["tables"]
        for row in table["rows"]
        # The whole test set, and no part of it.
        if table["benchmark"] == "gsm8k" and row["decides"] and row["n"] == GSM8K_TEST.rows
        if row[side] is not None
    ]
    entries: list[dict[str, Any]] = eval_result_entries_to_yaml(made)
    return entries
