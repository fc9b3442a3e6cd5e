"""The GSM8K and MATH-500 tasks as lm-eval sees them.

For: holding prompts, stop strings and checks back until lm-eval's flags and the user's generation
kwargs are known, and writing into the results what was done.
Not for: data, prompts, settings or scores, each of which has a module of its own.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.defaults import DEFAULT_OTHER_SEED

from iha_eval.answers import grader_version
from iha_eval.current_model import current
from iha_eval.data import load_rows, named_folder
from iha_eval.errors import UserError
from iha_eval.generation_kwargs import is_greedy
from iha_eval.reasoning.benchmarks import BENCHMARKS
from iha_eval.reasoning.fewshot import TRAIN, Example, examples_record, first, train_examples
from iha_eval.reasoning.prompts import PLAIN, Layout, choose
from iha_eval.reasoning.scoring import HOW_MAJ, metric_list, score
from iha_eval.reasoning.settings import check_sampling, read_settings, set_budget

logger = logging.getLogger(__name__)

_GREEDY = {"do_sample": False, "temperature": 0.0}


class MathTask(ConfigurableTask):  # type: ignore[misc]
    """A benchmark with k answers a question, or with one greedy answer.

    `dataset_kwargs` in the YAML file hold `benchmark` (a name in `BENCHMARKS`) and `voting`;
    `repeats` is k unless metadata has another. The standard errors that lm-eval computes are
    clustered by question (see scoring.py).

    Attributes:
        benchmark: Which benchmark.
        voting: Whether answers are sampled and voted on.
        settings: k, votes and the source of worked examples.
        folder: Where the data is; None for the hub.
        loaded: The benchmark's rows and their provenance.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the settings and the data.

        Args:
            config: lm-eval's task configuration.

        Raises:
            UserError: A setting cannot be meant, or the data is missing or broken.
        """
        plain = {name: config[name] for name in config if name != "class"}
        metadata, task = dict(plain.get("metadata") or {}), plain["task"]
        self.benchmark = BENCHMARKS[plain["dataset_kwargs"]["benchmark"]]
        self.voting = bool(plain["dataset_kwargs"]["voting"])
        self.settings = read_settings(task, metadata, plain.get("repeats", 1), self.voting)
        if self.settings.fewshot == TRAIN and not self.benchmark.has_train:
            raise UserError(
                f'metadata "fewshot" is "train" for {task}, which has no training set here: leave '
                "it out, or run the GSM8K tasks alone."
            )
        self.folder = named_folder(metadata)
        self.loaded = load_rows(self.benchmark.test, self.folder)
        self._seed = DEFAULT_OTHER_SEED
        # Told apart from a user's own list by being this very object.
        self._until: list[str] = []
        super().__init__(config={**plain, **self._derived(plain), "metadata": metadata})
        self._lay_out(PLAIN)
        metadata.pop("votes", None)
        metadata.update(self._record())

    def download(self, dataset_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """The documents; nothing is left to download."""
        del dataset_kwargs, kwargs
        documents = self.benchmark.documents(self.loaded.rows)
        self.dataset = {"test": Dataset.from_list(documents)}

    def fewshot_docs(self) -> list[dict[str, str]]:
        """Our own worked examples; those of the training set come in when requests are built."""
        return [example.document for example in self.benchmark.examples]

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        """Take the seed that training examples are drawn by; without one it is lm-eval's default.

        Args:
            seed: The fourth number of lm-eval's --seed.
        """
        super().set_fewshot_seed(seed)
        self._seed = DEFAULT_OTHER_SEED if seed is None else seed

    def build_all_requests(
        self,
        *,
        cache_requests: bool = False,
        rewrite_requests_cache: bool = False,
        **options: Any,
    ) -> None:
        """Fix prompts, stop strings and budget, check them, and make requests.

        Args:
            cache_requests: Not used: lm-eval's cache of requests knows neither the data nor
                generation kwargs and would bring back other requests.
            rewrite_requests_cache: Not used.
            options: lm-eval's other options.

        Raises:
            UserError: More worked examples are asked for than there are, or the generation kwargs
                contradict k.
        """
        del rewrite_requests_cache
        if cache_requests:
            logger.warning("%s leaves lm-eval's request cache alone.", self.config.task)
        self._settle_generation()
        chat = bool(options.get("apply_chat_template"))
        examples = self._choose_examples(self.config.num_fewshot or 0)
        if not chat and not examples:
            self._warn_of_chat_template()
        as_turns = bool(options.get("fewshot_as_multiturn"))
        layout = choose(chat, as_turns, len(examples))
        self._lay_out(layout)
        self.config.metadata.update(
            prompt_style=layout.name,
            fewshot_examples=examples_record(examples, self.settings.fewshot, self._seed),
        )
        super().build_all_requests(**options)

    def process_results(
        self, doc: Mapping[str, Any], results: Sequence[Sequence[str]]
    ) -> dict[str, Any]:
        """The scores of one question.

        Args:
            doc: Its document.
            results: One list, of the k answers.
        """
        if "bypass" in self._metric_fn_list:
            # lm-eval's --predict_only.
            return dict(super().process_results(doc, results))
        [answers] = results
        votes, kind = self.settings.votes, self.benchmark.kind
        return dict(score(answers, doc["answer"], kind, votes, self.voting))

    def _derived(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What follows from the settings, in lm-eval's configuration."""
        k = self.settings.k
        return {
            "repeats": k,
            "generation_kwargs": {"until": self._until, **(config.get("generation_kwargs") or {})},
            "metric_list": metric_list(self.settings.votes, self.voting),
            # Keeps lm-eval from looking the metrics up; what it names is for the reader.
            "process_results": "iha_eval.reasoning.scoring.score",
            "filter_list": [
                {"name": "none", "filter": [{"function": "take_first_k", "k": k}]},
            ],
            "fewshot_config": {"sampler": "first_n", "doc_to_target": "{{solution}}"},
            "doc_to_text": PLAIN.question,
            "doc_to_target": "answer",
        }

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "dataset": self.loaded.provenance,
            "k": self.settings.k,
            "grader": grader_version(),
        }
        if self.voting:
            record |= {"votes": list(self.settings.votes), "maj": HOW_MAJ}
        return record

    def _settle_generation(self) -> None:
        kwargs, task = self.config.generation_kwargs, self.config.task
        set_budget(kwargs, task)
        if not self.voting and not is_greedy(kwargs):
            logger.warning("%s stays greedy; sampling is for the voting tasks.", task)
        if not self.voting:
            kwargs.update(_GREEDY)
        check_sampling(kwargs, self.settings.k, task)
        if self.settings.k > 1 and kwargs.get("seed") is not None and current() is None:
            # Ours derive a seed for each answer from it; they have published themselves by now.
            logger.warning(
                "seed=%s in generation_kwargs of %s makes lm-eval's own model classes give one "
                "answer %d times: leave it out.",
                kwargs["seed"],
                task,
                self.settings.k,
            )

    def _choose_examples(self, count: int) -> list[Example]:
        train = self.settings.fewshot == TRAIN and count > 0
        pool = train_examples(self.folder, self._seed) if train else self.benchmark.examples
        examples = first(pool, count, self.config.task)
        self.sampler.replace_df([example.document for example in examples])
        return examples

    def _lay_out(self, layout: Layout) -> None:
        self.config.description = layout.description
        self.config.doc_to_text = layout.question
        self.fewshot_cfg.doc_to_text = layout.example
        # Not assigned: the task's own list, unless the user has put another in its place.
        self._until[:] = layout.until

    def _warn_of_chat_template(self) -> None:
        model = current()
        if model is not None and getattr(model.tokenizer, "chat_template", None):
            logger.warning(
                "%s asks without chat template and without examples, though the tokenizer has a "
                "chat template: add --apply_chat_template for a chat model.",
                self.config.task,
            )
