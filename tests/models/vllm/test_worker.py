"""Generators put aside; on a real engine, long prompts with seeds (which crash vLLM alone)."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from lm_eval.api.instance import Instance

from iha_eval.models.vllm.model import IHAVLLM
from iha_eval.models.vllm.worker import WorkerExtension, without_discarded


def runner(discarded: list[bool]) -> SimpleNamespace:
    batch = SimpleNamespace(num_reqs=3, generators={0: "first", 1: "second"})
    mask = SimpleNamespace(np=numpy.array([*discarded, True]))
    return SimpleNamespace(input_batch=batch, discard_request_mask=mask)


@pytest.mark.parametrize(
    ("discarded", "seen"),
    [
        ([False, False, False], {0: "first", 1: "second"}),
        ([True, False, True], {1: "second"}),
        ([True, True, True], {}),
    ],
    ids=["none", "one, and one without a seed", "all"],
)
def test_generators_of_discarded_tokens_are_not_drawn_from(
    discarded: list[bool], seen: dict[int, str]
) -> None:
    made = runner(discarded)
    assert without_discarded(made, lambda: dict(made.input_batch.generators))() == seen
    assert made.input_batch.generators == {0: "first", 1: "second"}


def test_they_come_back_after_an_error_too() -> None:
    made = runner([True, True, True])
    with pytest.raises(ZeroDivisionError):
        without_discarded(made, lambda: 1 // 0)()
    assert made.input_batch.generators == {0: "first", 1: "second"}


def test_gpus_are_left_alone() -> None:
    worker = WorkerExtension()
    worker.device, worker.model_runner = SimpleNamespace(type="cuda"), None
    assert not worker.iha_mend_seeded_sampling()


@pytest.mark.slow
def test_answers_do_not_depend_on_how_prompts_were_cut_up(
    llama: Path, ask: Callable[..., Instance]
) -> None:
    asked = [
        ask("x" * (150 + 40 * doc), doc, temperature=0.9, max_gen_toks=8)
        for doc in range(4)
        for _ in range(2)
    ]
    answers = []
    for tokens in (64, 2048):
        model = IHAVLLM(
            llama,
            kv_cache_memory_bytes=32 * 2**20,
            max_num_seqs=8,
            max_num_batched_tokens=tokens,
            max_model_len=384,
        )
        answers.append(model.generate_until(asked))
        model.close()
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 8
