"""The real benchmarks' data: GSM8K and MATH-500, from a folder or from the Hugging Face hub.

For: rows that are whole, and the record of where they came from and whether they are the
published ones.
Not for: prompts or scores (iha_eval.reasoning). No data is part of this package.
"""

from iha_eval.data.known import FILES, GSM8K_TEST, GSM8K_TRAIN, MATH500_TEST, DataFile
from iha_eval.data.rows import Row, rows_sha256
from iha_eval.data.sources import Loaded, MissingDataError, load_rows, named_folder

__all__ = [
    "FILES",
    "GSM8K_TEST",
    "GSM8K_TRAIN",
    "MATH500_TEST",
    "DataFile",
    "Loaded",
    "MissingDataError",
    "Row",
    "load_rows",
    "named_folder",
    "rows_sha256",
]
