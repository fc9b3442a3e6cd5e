"""The real benchmarks' data, from a folder or from the Hugging Face hub.

GSM8K and MATH-500 are for the tasks of reasoning, SQuAD 2.0 and HotpotQA for RULER's qa tasks.

For: rows that are whole, and the record of where they came from and whether they are the
published ones.
Not for: prompts or scores (iha_eval.reasoning, iha_eval.ruler). No data is part of this package.
"""

from iha_eval.data.known import (
    FILES,
    GSM8K_TEST,
    GSM8K_TRAIN,
    HOTPOTQA_DEV,
    MATH500_TEST,
    SQUAD_DEV,
    DataFile,
)
from iha_eval.data.rows import Row, rows_sha256, uncollected
from iha_eval.data.sources import (
    Loaded,
    MissingDataError,
    hub_rows,
    load_rows,
    named_folder,
)

__all__ = [
    "FILES",
    "GSM8K_TEST",
    "GSM8K_TRAIN",
    "HOTPOTQA_DEV",
    "MATH500_TEST",
    "SQUAD_DEV",
    "DataFile",
    "Loaded",
    "MissingDataError",
    "Row",
    "hub_rows",
    "load_rows",
    "named_folder",
    "rows_sha256",
    "uncollected",
]
