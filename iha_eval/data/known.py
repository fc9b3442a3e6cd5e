"""Which files there are, what their rows must hold, and the hashes of the published ones.

For: telling the published benchmark from another file of the same name.
Not for: reading files (rows.py) or finding them (sources.py).

SQuAD 2.0 and HotpotQA are read as their authors publish them, one JSON document each.

Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168 (GSM8K);
Lightman et al., "Let's Verify Step by Step", arXiv:2305.20050 (MATH-500, drawn from Hendrycks et
al., arXiv:2103.03874); Rajpurkar et al., arXiv:1806.03822 (SQuAD 2.0); Yang et al.,
arXiv:1809.09600 (HotpotQA), both CC BY-SA 4.0.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFile:
    """One file of a benchmark.

    Attributes:
        name: Path below the data folder.
        title: What it is, in words.
        fields: The fields that are used, and their JSON types.
        final: What the field `answer` must contain; empty if anything goes.
        rows: Number of rows of the published file.
        sha256: `rows_sha256` of the published file.
        repository: Where the hub has it.
        configuration: Its configuration there; None for the only one.
        split: Its split there.
        needed: Whether the tasks cannot do without it.
        whole: What makes rows of a file that is one JSON document, or of the hub's rows: `squad` or
            `hotpotqa`; empty for JSON lines. `sha256` is then the hash of the file itself.
        hub_file: The file and its revision in the hub's repository, where that has the file itself.
    """

    name: str
    title: str
    fields: dict[str, type]
    rows: int
    sha256: str
    repository: str
    configuration: str | None
    split: str
    final: str = ""
    needed: bool = True
    whole: str = ""
    hub_file: tuple[str, str] | None = None

    @property
    def hub_name(self) -> str:
        """Its place on the hub, in words."""
        inside = ", ".join(filter(None, (self.configuration, self.split)))
        return f"{self.repository} ({inside})"


_GSM8K_FIELDS: dict[str, type] = {"question": str, "answer": str}

GSM8K_TEST = DataFile(
    name="gsm8k/test.jsonl",
    title="GSM8K test set",
    fields=_GSM8K_FIELDS,
    final="####",
    rows=1319,
    sha256="5b736e25f3d1e6cdeef6b3d89e3dc71a7e3c20288f93f1bda635f6fbeb4f41b5",
    repository="openai/gsm8k",
    configuration="main",
    split="test",
)
GSM8K_TRAIN = DataFile(
    name="gsm8k/train.jsonl",
    title="GSM8K training set",
    fields=_GSM8K_FIELDS,
    final="####",
    rows=7473,
    sha256="937e90ecc5698135a95d098621de3388f3b63bec4dbd8fc1b349adf8612890aa",
    repository="openai/gsm8k",
    configuration="main",
    split="train",
    needed=False,
)
MATH500_TEST = DataFile(
    name="math500/test.jsonl",
    title="MATH-500 test set",
    fields={"problem": str, "answer": str, "subject": str, "level": int, "unique_id": str},
    rows=500,
    sha256="760ed8165339450380232240f627bdf1627afb02521ec12dcc8399d432263d95",
    repository="HuggingFaceH4/MATH-500",
    configuration=None,
    split="test",
)
SQUAD_DEV = DataFile(
    name="squad/dev-v2.0.json",
    title="SQuAD 2.0 development set",
    fields={"title": str, "context": str, "questions": list},
    rows=1204,
    sha256="80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
    repository="rajpurkar/squad_v2",
    configuration=None,
    split="validation",
    needed=False,
    whole="squad",
)
HOTPOTQA_DEV = DataFile(
    name="hotpotqa/hotpot_dev_distractor_v1.json",
    title="HotpotQA development set (distractor setting)",
    fields={"question": str, "answer": str, "paragraphs": list},
    rows=7405,
    sha256="4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea",
    repository="namlh2004/hotpotqa",
    configuration=None,
    split="validation",
    needed=False,
    whole="hotpotqa",
    hub_file=("hotpot_dev_distractor_v1.json", "7e54db4656209750ff487f6fdf8e39a66dba136b"),
)
FILES = (GSM8K_TEST, GSM8K_TRAIN, MATH500_TEST, SQUAD_DEV, HOTPOTQA_DEV)
"""All of them, in the order in which they are shown."""
