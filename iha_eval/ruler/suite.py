"""All thirteen tasks, and how they are named and grouped.

For: names of leaf tasks and groups. Not for: what a task is; its family's module says so.

Source: NVIDIA/RULER, scripts/synthetic.yaml.
"""

from iha_eval.ruler.cwe import CWE
from iha_eval.ruler.definition import length_label
from iha_eval.ruler.drafts import Definition
from iha_eval.ruler.fwe import FWE
from iha_eval.ruler.niah import NIAH
from iha_eval.ruler.qa import QA
from iha_eval.ruler.vt import VT

#: The tasks of each family, in RULER's order.
FAMILIES: dict[str, dict[str, Definition]] = {
    "niah": {**NIAH},
    "vt": {**VT},
    "cwe": {**CWE},
    "fwe": {**FWE},
    "qa": {**QA},
}
#: All of them by their names in RULER.
TASKS: dict[str, Definition] = {
    title: task for family in FAMILIES.values() for title, task in family.items()
}


def leaf_name(title: str, length: int) -> str:
    """The name of a leaf task, such as `ruler_vt_4k`."""
    return f"ruler_{title}_{length_label(length)}"
