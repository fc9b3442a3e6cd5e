"""What was said on the command line and lm-eval does not pass on to a model class.

For: the journal, which lies beside the output. Set by `lm_eval_plugin/command_line.py`; programs
that call `lm_eval.simple_evaluate` have no invocation, and name a folder with the argument
`journal`. Not for: anything lm-eval does hand over.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.journal import Journal
from iha_eval.util.redact import without_secrets


@dataclass
class Invocation:
    """One run of lm-eval's command.

    Attributes:
        output: what `--output_path` says; None where nothing is saved.
        log_samples: whether `--log_samples` was given.
        fresh: whether `--fresh` was given.
        journals: the journals opened so far.
        before: results and samples that lay there when it began.
        model_args: what `--model_args` says, secrets and all.
    """

    output: Path | None = None
    log_samples: bool = False
    fresh: bool = False
    journals: list[Journal] = field(default_factory=list)
    before: set[Path] = field(default_factory=set)
    model_args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Looks what is there already."""
        self.before = self._files("results") | self._files("samples")

    @property
    def folder(self) -> Path | None:
        """The folder that results go to; lm-eval takes a name ending in .json for a file."""
        if self.output is None:
            return None
        return self.output.parent if self.output.suffix == ".json" else self.output

    def hide(self, model_args: Any) -> dict[str, Any]:
        """Keep model arguments for `reveal`, and give them with stars for their secrets.

        Args:
            model_args: a mapping, or lm-eval's `name=value,...`.
        """
        if not isinstance(model_args, Mapping):
            from lm_eval.utils import simple_parse_args_string

            model_args = simple_parse_args_string(str(model_args))
        self.model_args = dict(model_args)
        shown = without_secrets(self.model_args)
        return {name: shown[str(name)] for name in self.model_args}

    def reveal(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments with the secrets that `hide` put stars for."""
        shown = without_secrets(self.model_args)
        return {
            name: self.model_args[name] if name in shown and shown[name] == value else value
            for name, value in arguments.items()
        }

    def finish(self) -> None:
        """Clear out of the journals what is in the results now.

        Raises:
            UserError: lm-eval saved no results, which it only warns of; the journals stay.
        """
        if not self.journals:
            return
        missing = [name for name in self._expected() if not self._saved(name)]
        if missing:
            kept = ", ".join(sorted({str(journal.path) for journal in self.journals}))
            raise UserError(
                f"lm-eval could not save its {' and '.join(missing)} under {self.folder}: make "
                f"room there or mend its permissions and give the same command again; all answers "
                f"are kept in {kept}."
            )
        for journal in self.journals:
            journal.retire()

    def _expected(self) -> list[str]:
        return ["results", "samples"] if self.log_samples else ["results"]

    def _files(self, name: str) -> set[Path]:
        """What lm-eval has written of a kind, by its own rule for names."""
        if self.output is None:
            return set()
        if self.output.suffix == ".json":
            pattern = f"{self.output.stem}_*.json" if name == "results" else "samples_*.jsonl"
            return set(self.output.parent.glob(pattern))
        pattern = "*/results_*.json" if name == "results" else "*/samples_*.jsonl"
        return set(self.output.glob(pattern))

    def _saved(self, name: str) -> bool:
        new = self._files(name) - self.before
        if name == "samples":
            return bool(new)
        models = {journal.identity.get("checkpoint") for journal in self.journals}
        return any(_checkpoint(path) in models for path in new)


def _checkpoint(results: Path) -> str | None:
    """The fingerprint of the model that a results file is of: another run may write beside ours."""
    try:
        config = json.loads(results.read_text(encoding="utf-8"))["config"]
        return str(config["iha_eval"]["checkpoint"]["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


_current: Invocation | None = None


def current() -> Invocation | None:
    """The command that runs now, or None in programs that call lm-eval themselves."""
    return _current


@contextmanager
def running(invocation: Invocation) -> Iterator[None]:
    """Make `invocation` the current one; its journals are cleared away if all goes well."""
    global _current
    before, _current = _current, invocation
    try:
        yield
        invocation.finish()
    finally:
        _current = before
        for journal in invocation.journals:
            journal.close()
