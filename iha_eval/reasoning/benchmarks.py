"""GSM8K and MATH-500: which data, which kind of answers, which worked examples.

For: turning rows into documents. Not for: prompts or scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iha_eval.answers import Kind
from iha_eval.data import GSM8K_TEST, MATH500_TEST, DataFile, Row
from iha_eval.reasoning.fewshot import GSM8K_EXAMPLES, MATH_EXAMPLES, Example

Document = dict[str, Any]
"""`index`, `problem`, `answer` (the right one); MATH-500 adds `subject`, `level`, `unique_id`."""


@dataclass(frozen=True)
class MathBenchmark:
    """One benchmark.

    Attributes:
        name: As in `dataset_kwargs`.
        kind: Which answers it has, see iha_eval.answers.
        test: The file with its questions.
        has_train: Whether worked examples can come from a training set.
        examples: Our own worked examples.
        fields: A row -> the fields of its document.
    """

    name: str
    kind: Kind
    test: DataFile
    has_train: bool
    examples: Sequence[Example]
    fields: Callable[[Row], Document]

    def documents(self, rows: Sequence[Row]) -> list[Document]:
        """The documents, in the order of the rows."""
        return [{"index": index, **self.fields(row)} for index, row in enumerate(rows)]


def _gsm8k(row: Row) -> Document:
    final = row["answer"].rpartition("####")[2].strip()
    return {"problem": row["question"], "answer": final}


def _math(row: Row) -> Document:
    return {name: row[name] for name in ("problem", "answer", "subject", "level", "unique_id")}


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        MathBenchmark("gsm8k", "number", GSM8K_TEST, True, GSM8K_EXAMPLES, _gsm8k),
        MathBenchmark("math500", "math", MATH500_TEST, False, MATH_EXAMPLES, _math),
    )
}
"""Name -> benchmark."""
