"""RULER's tasks as lm-eval sees them.

For: holding documents back until the chat template is known, writing hashes into the results, and
groups: of lengths other than the standard ones, and of the tasks whose data is to be had.
Not for: drawing, sizing or scoring.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any, overload

from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.group import AggMetricConfig

from iha_eval.data import MissingDataError, named_folder
from iha_eval.errors import UserError
from iha_eval.generation_kwargs import read_budget
from iha_eval.ruler.definition import (
    DOCUMENTS,
    NoRoomError,
    length_label,
    parse_count,
    parse_lengths,
    task_name,
)
from iha_eval.ruler.documents import Documents, RulerCell, load_documents, plain_prompt
from iha_eval.ruler.drafts import Document, RulerSettings
from iha_eval.ruler.fit import Render
from iha_eval.ruler.niah import VARIANTS
from iha_eval.ruler.qa import QA, QuestionTask, question_set
from iha_eval.ruler.scoring import COMMON_METRICS, METRICS, QA_METRICS
from iha_eval.ruler.suite import FAMILIES, TASKS, leaf_name
from iha_eval.ruler.tokens import counter_for, resolve_tokenizer

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
    """A task at a length.

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
            config: lm-eval's task configuration; `dataset_kwargs` holds `length` and `task`, or
                `variant` for the ruler_mk tasks.

        Raises:
            UserError: If metadata asks for other lengths or tasks, which this task does not have,
                or has a value that it cannot have.
        """
        cell, metadata = config["dataset_kwargs"], config.get("metadata") or {}
        if "lengths" in metadata and not cell.get("by_metadata"):
            group = "ruler_mk_lengths" if "variant" in cell else "ruler_all_lengths"
            raise UserError(
                f"{config['task']} is {cell['length']} tokens long and does not follow metadata "
                f"'lengths' ({metadata['lengths']!r}): use --tasks {group} for others."
            )
        if "tasks" in metadata:
            raise UserError(
                f"{config['task']} does not follow metadata 'tasks' ({metadata['tasks']!r}), which "
                "chooses among the tasks of a group such as ruler_all_4k."
            )
        definition = VARIANTS[cell["variant"]] if "variant" in cell else TASKS[cell["task"]]
        folder = named_folder(metadata) if isinstance(definition, QuestionTask) else None
        settings = RulerSettings.from_metadata(metadata, folder)
        count = parse_count(metadata.get("documents", DOCUMENTS))
        self.cell = RulerCell(definition, cell["length"], metadata.get("haystack"), count, settings)
        self.preview: Document = {
            **dict.fromkeys(("index", "depth", "length", "max_length"), 0),
            **dict.fromkeys(("input", "gen_prefix", "query", "kind"), "preview"),
            "outputs": ["preview"],
        }
        self._documents: Documents | list[Document] = [self.preview]
        plain = {name: config[name] for name in config if name != "class"}
        plain["generation_kwargs"] = {
            "max_gen_toks": definition.new_tokens,
            **plain.get("generation_kwargs", {}),
        }
        if isinstance(definition, QuestionTask):
            how = {"aggregation": "mean", "higher_is_better": True}
            plain["metric_list"] = plain["metric_list"] + [{"metric": m, **how} for m in QA_METRICS]
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
        """Tokens to be generated per document: RULER's unless the user asks for another number."""
        where = f"generation_kwargs of task {self.config.task}"
        return read_budget(
            self.config.generation_kwargs or {}, where, self.cell.definition.new_tokens
        )

    def refusal(self) -> str | None:
        """Why the length cannot hold this task's documents; None if it can, or is not known.

        Raises:
            UserError: If they cannot be made for another reason, such as a haystack that is not
                there; no length would help.
        """
        try:
            tokenizer = resolve_tokenizer(self.config.metadata)
        except UserError:
            # The run itself will say that there is none.
            return None
        with suppress(NoRoomError):
            # One document with room to spare shows it; else the run finds all sizes in the cache.
            one = replace(self.cell, count=1)
            first = load_documents(one, tokenizer, plain_prompt, self.budget)
            if 2 * counter_for(tokenizer).prompt(plain_prompt(first.smallest)) < self.cell.length:
                return None
        try:
            load_documents(self.cell, tokenizer, plain_prompt, self.budget)
        except NoRoomError as error:
            return str(error)
        return None

    def _draw(self, render: Render) -> None:
        tokenizer = resolve_tokenizer(self.config.metadata)
        self._documents = documents = load_documents(self.cell, tokenizer, render, self.budget)
        # The results file shows the metadata of each task; cwe, fwe and qa have no haystack.
        self.config.metadata.update({"haystack": None, **documents.provenance})
        answer = documents[0]["outputs"]
        # Of qa's references one is enough.
        shortest = min(answer, key=len) if documents[0]["kind"] == "answer" else " ".join(answer)
        needed, name = counter_for(tokenizer).plain(shortest), self.config.task
        if needed > self.budget:
            why = "%s: a right answer takes %d tokens, and %d are generated: raise max_gen_toks."
            logger.warning(why, name, needed, self.budget)

    def build_all_requests(self, *, cache_requests: bool = False, **options: Any) -> None:
        """Draw documents that fit the prompts of this run, and make requests of them.

        Args:
            cache_requests: Not used: lm-eval's cache of requests does not know lengths, tokenizers
                or haystacks and would bring back other documents; the documents have a cache of
                their own.
            options: lm-eval's other options, of which `rewrite_requests_cache` is not used either.

        Raises:
            UserError: If there is no tokenizer, or the length cannot hold a document.
        """
        options.pop("rewrite_requests_cache", None)
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
        super().__init__(**_group_fields(config["task"], metadata, METRICS))
        for length in lengths:
            subgroup = Group(**_group_fields(f"ruler_mk_{length_label(length)}", metadata, METRICS))
            for variant in VARIANTS:
                subgroup.add(_leaf(config, task_name(variant, length), length, variant=variant))
            self.add(subgroup)


class RulerGroup(Group):  # type: ignore[misc]
    """A group of RULER's tasks at one length or several, less those that cannot be made.

    YAML groups list their tasks; this one leaves out qa_1 or qa_2 where the question set is not to
    be had, and what has no room in the length with the model's tokenizer, and then says so wherever
    its mean stands: `ruler_all_4k (11 of 13)`. A task is left out at all lengths or at none, so
    that means of lengths can be compared.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Build the tasks.

        Args:
            config: lm-eval's task configuration, that of any leaf; `dataset_kwargs` holds `family`
                (`all`, or one of FAMILIES) and `lengths`, without which metadata says them.

        Raises:
            UserError: If metadata has no lengths, or wrong ones, or names a task that there is not,
                or if no task is left.
        """
        metadata, wanted = dict(config.get("metadata") or {}), config["dataset_kwargs"]
        titles = _titles(wanted["family"], metadata)
        # A leaf is one task, so that it refuses a choice.
        one = {**config, "metadata": {k: v for k, v in metadata.items() if k != "tasks"}}
        lengths = wanted.get("lengths") or parse_lengths(metadata.get("lengths"))
        missing = _missing(titles, metadata)
        leaves: dict[str, list[RulerTask]] = {title: [] for title in titles if title not in missing}
        for title, tasks in leaves.items():
            for length in lengths:
                which = {"task": title, "by_metadata": "lengths" not in wanted}
                tasks.append(_leaf(one, leaf_name(title, length), length, **which))
            if reason := next(filter(None, (task.refusal() for task in tasks)), None):
                missing[title] = reason
        left = [title for title in leaves if title not in missing]
        if not left:
            # What a length lacks says more than what data is missing, and is alike for all tasks.
            short = [reason for title, reason in missing.items() if title not in QA][:1]
            raise UserError(" ".join(short or missing.values()))
        for reason in missing.values():
            logger.warning(
                "%s goes on with %d of %d tasks. %s", config["task"], len(left), len(titles), reason
            )
        # A mean of the tasks that metadata chose is no mean of the group's own tasks either.
        whole = len(_titles(wanted["family"], {}))
        share = f"{len(left)} of {whole}" if len(left) < whole else ""
        if share:
            metadata |= {"ruler_tasks": share, "left_out": list(missing)}
        super().__init__(**_group_fields(config["task"], metadata, COMMON_METRICS, share))
        for number, length in enumerate(lengths):
            group: Group = self
            if (len(lengths) > 1 and len(titles) > 1) or "lengths" not in wanted:
                name = f"{config['task'].removesuffix('_lengths')}_{length_label(length)}"
                group = Group(**_group_fields(name, metadata, COMMON_METRICS, share))
                self.add(group)
            for title in left:
                group.add(leaves[title][number])


def _titles(family: str, metadata: Mapping[str, Any]) -> list[str]:
    """The tasks of a family, or those of them that metadata `tasks` names."""
    titles = list(TASKS if family == "all" else FAMILIES[family])
    chosen = metadata.get("tasks")
    if chosen is None:
        return titles
    names = [chosen] if isinstance(chosen, str) else chosen
    if not isinstance(names, list) or not names or not set(map(str, names)) <= set(titles):
        raise UserError(f"metadata 'tasks' is {chosen!r}: name one or some of {', '.join(titles)}.")
    return [title for title in titles if title in names]


def _missing(titles: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, str]:
    """The tasks whose data is nowhere to be found, with what to do about it."""
    missing = {}
    for title in titles:
        if title in QA:
            try:
                question_set(title, named_folder(metadata))
            except MissingDataError as error:
                missing[title] = str(error)
    return missing


def _group_fields(
    name: str, metadata: Mapping[str, Any], metrics: Sequence[str], share: str = ""
) -> dict[str, Any]:
    aggregated = [AggMetricConfig(metric=metric, weight_by_size=False) for metric in metrics]
    fields = {"name": name, "aggregate_metric_list": aggregated, "metadata": dict(metadata)}
    return {**fields, "alias": f"{name} ({share})"} if share else fields


def _leaf(config: Mapping[str, Any], name: str, length: int, **which: Any) -> RulerTask:
    given = {"by_metadata": True, **which, "length": length}
    return RulerTask({**deepcopy(dict(config)), "task": name, "dataset_kwargs": given})
