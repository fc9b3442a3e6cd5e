"""How `iha-vllm` spreads a model and its documents: what is refused, and what is started."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from iha_eval.errors import UserError
from iha_eval.models.vllm import engine_arguments
from iha_eval.models.vllm import model as iha_vllm
from iha_eval.models.vllm.devices import Slice
from iha_eval.models.vllm.model import IHAVLLM
from iha_eval.models.vllm.replicas import ReplicaError
from model_adapters import default_checkpoint


class Recorded:
    """Stands for `Replicas`: keeps what it is started with, and ends with its first prompt."""

    max_model_len = 512
    non_finite = 0

    def __init__(self, arguments: Any, parts: Sequence[Slice], *, batch_invariant: bool) -> None:
        self.arguments, self.parts, self.batch_invariant = arguments, parts, batch_invariant
        self.closed = False
        self.asked: list[Any] = []

    def prefix_hits(self) -> int:
        return 0

    def facts(self) -> dict[str, Any]:
        return {}

    def run(self, prompts: Iterable[Any], *_: Any) -> None:
        self.asked = [params for _, params in prompts]
        raise ReplicaError("Replica 1 of 3 is gone.")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    """What a model with these arguments starts, on a CPU with 3 GB free."""
    monkeypatch.setattr(iha_vllm, "set_environment", lambda *_, **__: True)
    monkeypatch.setattr(engine_arguments, "free_memory", lambda: 3 * 10**9)
    monkeypatch.setattr(iha_vllm, "Replicas", Recorded)
    monkeypatch.setattr(iha_vllm, "slices", lambda *given, cpu: [(*given, cpu)])

    def start(folder: Path, **given: Any) -> Recorded:
        model = IHAVLLM(folder, **given)
        model._prepare(256, [256] * 1000)
        found = model._engine
        assert isinstance(found, Recorded)
        return found

    return start


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size is 2, which IHA does not serve"),
        ({"decode_context_parallel_size": 2}, "decode_context_parallel_size is 2"),
        ({"attention_backend": "flashinfer"}, "attention backend FLASHINFER"),
        ({"tensor_parallel_size": 3}, "tensor_parallel_size is 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_iha_cannot_do_is_refused_before_tasks_are_read(
    given: dict[str, Any], message: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asks vLLM for its names, whose import takes seconds.
    monkeypatch.setattr(engine_arguments, "check", lambda *_: None)
    with pytest.raises(UserError, match=message):
        IHAVLLM(default_checkpoint.folder(), **given)
    # A plain model may.
    IHAVLLM(llama, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data_parallel_size": "two"}, "data_parallel_size='two' is not a whole number of at"),
        ({"data_parallel_size": 2, "data_parallel_rank": 1}, "data_parallel_rank=1 belongs to"),
        ({"data_parallel_backend": "ray"}, "here data_parallel_size=N alone runs N engines"),
    ],
    ids=["no number", "a rank", "a backend"],
)
def test_other_ways_of_data_parallelism_are_one_sentence(
    given: dict[str, Any], message: str, llama: Path
) -> None:
    with pytest.raises(UserError, match=message):
        IHAVLLM(llama, **given)


def test_each_engine_is_started_with_the_same_arguments(
    llama: Path, started: Callable[..., Recorded]
) -> None:
    found = started(llama, data_parallel_size=3, tensor_parallel_size=2, enforce_eager=True)
    assert found.parts == [(3, 2, True)]
    assert found.batch_invariant
    assert "data_parallel_size" not in found.arguments
    assert found.arguments["tensor_parallel_size"] == 2


def test_engines_share_the_memory_that_is_free(
    llama: Path, started: Callable[..., Recorded]
) -> None:
    name = "kv_cache_memory_bytes"
    assert started(llama, data_parallel_size=3).arguments[name] == int(0.4 * 10**9)
    assert started(llama, data_parallel_size=2, **{name: 7}).arguments[name] == 7


def test_one_replica_is_a_plain_engine(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iha_vllm, "set_environment", lambda *_, **__: True)
    monkeypatch.setattr(iha_vllm, "Engine", lambda *_, **__: "an engine")
    model = IHAVLLM(llama, data_parallel_size=1)
    model._prepare(256, [256])
    assert model._engine == "an engine"


def test_a_journal_is_the_same_however_many_engines_there_are(llama: Path) -> None:
    assert (
        IHAVLLM(llama)._identity()
        == IHAVLLM(llama, data_parallel_size=2)._identity()
        != IHAVLLM(llama, block_size=16, enable_prefix_caching=False)._identity()
    )


def test_after_a_replica_is_gone_the_others_are_stopped(
    llama: Path,
    started: Callable[..., Recorded],
    ask: Callable[..., Instance],
) -> None:
    found = started(llama, data_parallel_size=3)
    model = IHAVLLM(llama)
    model._engine = found  # type: ignore[assignment]
    with pytest.raises(ReplicaError, match=r"^Replica 1 of 3 is gone\.$"):
        model.generate_until([ask("hello", max_gen_toks=2)])
    assert found.closed
    assert model._engine is None


@pytest.mark.parametrize(("copies", "parts"), [(1, [6]), (3, [2, 2, 2])])
def test_samples_of_one_question_are_asked_of_all_engines(
    copies: int,
    parts: list[int],
    llama: Path,
    started: Callable[..., Recorded],
    ask: Callable[..., Instance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part from the seed that its first sample has in the whole."""
    monkeypatch.setattr(iha_vllm, "sampling_params", lambda sampling, n: (sampling.seed, n))
    model = IHAVLLM(llama, data_parallel_size=copies)
    model._engine = found = started(llama, data_parallel_size=3)  # type: ignore[assignment]
    with pytest.raises(ReplicaError):
        model.generate_until([ask("hello", max_gen_toks=40, temperature=0.9) for _ in range(6)])
    seeds, counts = zip(*found.asked, strict=True)
    assert list(counts) == parts
    assert [seed - seeds[0] for seed in seeds] == [sum(parts[:n]) for n in range(len(parts))]
