"""The ruler_mk tasks as lm-eval sees them.

For: holding documents back until the chat template is known, writing hashes into the results, and
groups of lengths other than the standard ones.
Not for: drawing, sizing or scoring.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, overload

from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.group import AggMetricConfig

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import read_budget
from iha_eval.ruler.definition import (
    DOCUMENTS,
    NEW_TOKENS,
    VARIANTS,
    length_label,
    parse_count,
    parse_lengths,
    task_name,
)
from iha_eval.ruler.documents import Documents, RulerCell, load_documents, plain_prompt
from iha_eval.ruler.drafts import Document
from iha_eval.ruler.fit import Render
from iha_eval.ruler.scoring import METRICS
from iha_eval.ruler.tokens import resolve_tokenizer

logger = logging.getLogger(__name__)


class _View(Sequence[Document]):
    """A task's documents, drawn when the first is asked for; their number is known before."""

    def __init__(self, task: "RulerTask") -> None:
        self._task = task
        self.features = dict.fromkeys(self._task.preview)

    def __len__(self) -> int:
        return self._task.cell.count

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        return self._task.documents[index]

    def __iter__(self) -> Iterator[Document]:
        return iter(self._task.documents)


class RulerTask(ConfigurableTask):  # type: ignore[misc]
    """One cell of the ruler_mk table.

    lm-eval builds tasks before it says whether a chat template is used, which a document's size
    depends on. So documents are drawn when requests are built.

    Attributes:
        cell: Which documents.
        preview: A document without haystack, for lm-eval's look at the first document while it
            builds the task.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Set up a cell.

        Args:
            config: lm-eval's task configuration; `dataset_kwargs` holds `variant` and `length`.

        Raises:
            UserError: If metadata asks for other lengths, which this task does not have, or for a
                number of documents that is none.
        """
        cell, metadata = config["dataset_kwargs"], config.get("metadata") or {}
        if "lengths" in metadata and not cell.get("by_metadata"):
            raise UserError(
                f"{config['task']} is {cell['length']} tokens long and does not follow metadata "
                f"'lengths' ({metadata['lengths']!r}): use --tasks ruler_mk_lengths for others."
            )
        count = parse_count(metadata.get("documents", DOCUMENTS))
        variant = VARIANTS[cell["variant"]]
        self.cell = RulerCell(variant, cell["length"], metadata.get("haystack"), count)
        self.preview: Document = {
            **dict.fromkeys(("index", "depth", "length", "max_length"), 0),
            **dict.fromkeys(("input", "gen_prefix", "query", "kind"), "preview"),
            "outputs": ["preview"],
        }
        self._documents: Documents | list[Document] = [self.preview]
        plain = {name: config[name] for name in config if name != "class"}
        super().__init__(config={**plain, "metadata": dict(metadata)})
        self._documents = []

    def download(self, dataset_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Nothing to download; documents are drawn later."""
        del dataset_kwargs, kwargs
        self.dataset = {"test": _View(self)}

    @property
    def documents(self) -> Documents | list[Document]:
        """The documents; sized without chat template unless requests have been built."""
        if not self._documents:
            self._draw(plain_prompt)
        return self._documents

    @property
    def budget(self) -> int:
        """Tokens to be generated per document: 128 unless the user asks for another number."""
        where = f"generation_kwargs of task {self.config.task}"
        return read_budget(self.config.generation_kwargs or {}, where, NEW_TOKENS)

    def _draw(self, render: Render) -> None:
        tokenizer = resolve_tokenizer(self.config.metadata)
        documents = load_documents(self.cell, tokenizer, render, self.budget)
        # The results file shows the metadata of each task.
        self.config.metadata.update(documents.provenance)
        self._documents = documents

    def build_all_requests(
        self,
        *,
        cache_requests: bool = False,
        rewrite_requests_cache: bool = False,
        **options: Any,
    ) -> None:
        """Draw documents that fit the prompts of this run, and make requests of them.

        Args:
            cache_requests: Not used: lm-eval's cache of requests does not know lengths, tokenizers
                or haystacks and would bring back other documents; the documents have a cache of
                their own.
            rewrite_requests_cache: Not used.
            options: lm-eval's other options.

        Raises:
            UserError: If there is no tokenizer, or the length cannot hold a document.
        """
        del rewrite_requests_cache
        if cache_requests:
            logger.warning("%s leaves lm-eval's request cache alone.", self.config.task)
        names = ("system_instruction", "apply_chat_template", "fewshot_as_multiturn")
        chat = {name: options[name] for name in (*names, "chat_template") if name in options}

        def render(document: Document) -> str:
            prompt = self.fewshot_context(
                document, num_fewshot=0, gen_prefix=document["gen_prefix"], **chat
            )
            # API models wrap a chat in an object.
            return str(getattr(prompt, "prompt", prompt))

        self._draw(render)
        super().build_all_requests(**options)


class RulerLengthsGroup(Group):  # type: ignore[misc]
    """The group `ruler_mk_lengths`: the nine cells' likes at the lengths in metadata `lengths`.

    YAML groups list their tasks; this one is told them by the user, as in
    `--tasks ruler_mk_lengths --metadata '{"lengths": [1024, 32768]}'`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Build the tasks.

        Args:
            config: lm-eval's task configuration, that of any cell.

        Raises:
            UserError: If metadata has no lengths, or wrong ones.
        """
        metadata = config.get("metadata") or {}
        lengths = parse_lengths(metadata.get("lengths"))
        super().__init__(**_group_fields(config["task"], metadata))
        for length in lengths:
            subgroup = Group(**_group_fields(f"ruler_mk_{length_label(length)}", metadata))
            for variant in VARIANTS:
                subgroup.add(RulerTask(_cell_config(config, variant, length)))
            self.add(subgroup)


def _group_fields(name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [AggMetricConfig(metric=metric, weight_by_size=False) for metric in METRICS]
    return {"name": name, "aggregate_metric_list": metrics, "metadata": dict(metadata)}


def _cell_config(config: Mapping[str, Any], variant: str, length: int) -> dict[str, Any]:
    return {
        **deepcopy(dict(config)),
        "task": task_name(variant, length),
        "dataset_kwargs": {"variant": variant, "length": length, "by_metadata": True},
    }
