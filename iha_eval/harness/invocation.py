"""What was said on the command line and lm-eval does not pass on to a model class.

For: the journal, which lies beside the output. Set by `command_line.py`; programs that call
`lm_eval.simple_evaluate` have no invocation, and name a folder with the argument `journal`.
Not for: anything lm-eval does hand over.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from iha_eval.errors import UserError
from iha_eval.harness.journal import Journal


@dataclass
class Invocation:
    """One run of lm-eval's command.

    Attributes:
        output: what `--output_path` says; None where nothing is saved.
        log_samples: whether `--log_samples` was given.
        fresh: whether `--fresh` was given.
        journals: the journals opened so far.
        started: when it began, in seconds of the clock that files are dated by.
    """

    output: Path | None = None
    log_samples: bool = False
    fresh: bool = False
    journals: list[Journal] = field(default_factory=list)
    started: float = field(default_factory=time.time)

    @property
    def folder(self) -> Path | None:
        """The folder that results go to; lm-eval takes a name ending in .json for a file."""
        if self.output is None:
            return None
        return self.output.parent if self.output.suffix == ".json" else self.output

    def finish(self) -> None:
        """Clear the journals away, now that the results hold what was in them.

        Raises:
            UserError: lm-eval saved no results, which it only warns of; the journals stay.
        """
        if not self.journals:
            return
        missing = [name for name in self._expected() if not self._saved(name)]
        if missing:
            kept = ", ".join(str(journal.path) for journal in self.journals)
            raise UserError(
                f"lm-eval could not save its {' and '.join(missing)} under {self.folder}: make "
                f"room there or mend its permissions and give the same command again; all answers "
                f"are kept in {kept}."
            )
        for journal in self.journals:
            journal.retire()

    def _expected(self) -> list[str]:
        return ["results", "samples"] if self.log_samples else ["results"]

    def _saved(self, name: str) -> bool:
        assert self.folder is not None, "journals of a command lie beside its output"
        # A file's own name may stand for "results"; its date and the kind's ending do not change.
        stem = self.output.stem if self.output is not None and self.output.suffix else "results"
        pattern = f"**/{stem}_*.json" if name == "results" else "**/samples_*.jsonl"
        # Some file systems date files to the second.
        return any(found.stat().st_mtime >= self.started - 2 for found in self.folder.glob(pattern))


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
