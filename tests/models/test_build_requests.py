from collections.abc import Callable
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from iha_eval.errors import UserError
from iha_eval.models import source
from iha_eval.models.arguments import parse
from iha_eval.models.build_requests import (
    Defaults,
    generate_requests,
    score_requests,
    window_requests,
)
from iha_eval.models.requests import GenerateRequest, derive_seed
from iha_eval.models.tokenizer import PromptTokenizer

Ask = Callable[..., Instance]


@pytest.fixture(scope="module")
def text(llama: Path) -> PromptTokenizer:
    return PromptTokenizer(source.find_checkpoint(str(llama)), parse({}))


def requests(
    text: PromptTokenizer, instances: list[Instance], seed: int = 0
) -> list[GenerateRequest]:
    return generate_requests(instances, text, Defaults(256, seed), shown=False)


def test_requests_keep_order_task_and_document(text: PromptTokenizer, ask: Ask) -> None:
    found = requests(text, [ask("ab", 3, "one"), ask("c", 4, "two", max_gen_toks=5)])
    assert [(job.index, job.task, job.doc_id) for job in found] == [(0, "one", 3), (1, "two", 4)]
    assert list(found[0].prompt) == text.encode("ab")
    assert [job.sampling.max_tokens for job in found] == [256, 5]


def test_greedy_requests_have_no_seed(text: PromptTokenizer, ask: Ask) -> None:
    assert requests(text, [ask("ab")])[0].sampling.seed is None


def test_repeats_share_their_prompt_and_draw_from_seeds_of_their_own(
    text: PromptTokenizer, ask: Ask
) -> None:
    one, other = ask("ab", 0, temperature=1.0), ask("ab", 1, temperature=1.0)
    found = requests(text, [one, one, other, one], seed=9)
    assert [job.repeat for job in found] == [0, 1, 0, 2]
    assert found[0].prompt is found[1].prompt
    expected = [
        derive_seed(9, "asked", doc, repeat) for doc, repeat in [(0, 0), (0, 1), (1, 0), (0, 2)]
    ]
    assert [job.sampling.seed for job in found] == expected


def test_a_seed_in_the_task_makes_no_repeats_alike(text: PromptTokenizer, ask: Ask) -> None:
    one = ask("ab", temperature=1.0, seed=4)
    first, second = requests(text, [one, one])
    assert first.sampling.seed == derive_seed(4, "asked", 0, 0)
    assert first.sampling.seed != second.sampling.seed


def test_a_question_asked_again_at_temperature_0_is_refused(
    text: PromptTokenizer, ask: Ask
) -> None:
    one = ask("ab")
    with pytest.raises(UserError, match=r"Task asked asks for several answers .* temperature"):
        requests(text, [one, one])
    # Two prompts of one document are two questions.
    assert len(requests(text, [ask("ab"), ask("cd")])) == 2


def test_an_empty_prompt_is_the_prefix_token(text: PromptTokenizer, ask: Ask) -> None:
    assert list(requests(text, [ask("")])[0].prompt) == [text.prefix_id]


def test_a_document_is_held_to_the_length_it_states(text: PromptTokenizer, ask: Ask) -> None:
    fits = ask("ab", 0, max_gen_toks=8)
    fits.doc = {"max_length": len(text.encode("ab")) + 8}
    assert len(requests(text, [fits])) == 1
    fits.doc = {"max_length": len(text.encode("ab")) + 7}
    with pytest.raises(UserError, match=r"Task asked, document 0: .* over the document's own"):
        requests(text, [fits])


def split(context: str, continuation: str) -> tuple[list[int], list[int]]:
    return [1] * len(context), [2] * len(continuation)


def test_scores_are_asked_of_what_lm_eval_splits(text: PromptTokenizer, weigh: Ask) -> None:
    (found,) = score_requests([weigh("ab", "c", 5)], text, split, shown=False)
    assert (found.task, found.doc_id) == ("weighed", 5)
    assert (list(found.context), list(found.continuation)) == ([1, 1], [2])


@pytest.mark.parametrize(
    ("continuation", "context"), [("a", [0]), ("<s>a", [0])], ids=["stands in", "brought along"]
)
def test_an_empty_context_is_the_prefix_token(
    text: PromptTokenizer, weigh: Ask, continuation: str, context: list[int]
) -> None:
    (found,) = score_requests([weigh("", continuation)], text, split, shown=False)
    assert list(found.context) == context
    assert text.plain(list(found.continuation)) == "a"


@pytest.mark.parametrize(("context", "continuation"), [("ab", ""), ("", ""), ("", "<s>")])
def test_nothing_to_score_is_refused(
    text: PromptTokenizer, weigh: Ask, context: str, continuation: str
) -> None:
    with pytest.raises(UserError, match="Task weighed, document 5: the continuation"):
        score_requests([weigh(context, continuation, 5)], text, split, shown=False)


def test_windows_score_each_token_once(text: PromptTokenizer, roll: Ask) -> None:
    texts = [roll("x" * 25), roll("yz"), roll("")]
    found = list(window_requests(texts, text, window=10))
    assert [job.index for _, job in found] == list(range(len(found)))
    for owner, instance in enumerate(texts):
        scored = [token for place, job in found if place == owner for token in job.continuation]
        assert scored == text.encode(instance.args[0])
    assert all(len(job.context) + len(job.continuation) <= 11 for _, job in found)


def test_without_a_window_a_text_is_scored_at_once(text: PromptTokenizer, roll: Ask) -> None:
    ((owner, job),) = window_requests([roll("x" * 25)], text, window=None)
    assert (owner, len(job.context), len(job.continuation)) == (0, 1, 26)
