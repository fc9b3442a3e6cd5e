"""How `iha-vllm` spreads a model and its documents: what is refused, and what is started."""

import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from iha_eval.errors import UserError
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.vllm import engine, engine_arguments
from iha_eval.models.vllm import model as iha_vllm
from iha_eval.models.vllm.cluster import ClusterError
from iha_eval.models.vllm.dealing import EnginePrompt
from iha_eval.models.vllm.devices import EnginePlan
from iha_eval.models.vllm.model import IHAVLLM
from model_adapters import checkpoint, default_checkpoint


class Recorded:
    """Stands for `EngineCluster`: keeps what it is started with, and ends with its first prompt."""

    max_model_len = 512
    non_finite = 0

    def __init__(self, plan: EnginePlan, engines: int | None, ranks: int) -> None:
        self.plan, self.engines, self.ranks = plan, engines, ranks
        self.arguments = plan.arguments.engine
        self.wanted = 5 if engines is None else engines
        self.closed = False
        self.asked: list[EnginePrompt] = []

    def prefix_hits(self) -> int:
        return 0

    def facts(self) -> dict[str, Any]:
        return {}

    def run(self, prompts: Iterable[Any], *_: Any) -> None:
        self.asked = list(prompts)
        raise ClusterError("All engines are gone.")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    """What a model with these arguments starts."""
    monkeypatch.setattr(iha_vllm, "EngineCluster", Recorded)

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


@pytest.mark.parametrize(
    ("given", "engines"),
    [(3, 3), ("2", 2), ("auto", None)],
    ids=str,
)
def test_each_engine_is_started_with_the_same_plan(
    given: Any, engines: int | None, llama: Path, started: Callable[..., Recorded]
) -> None:
    cluster = started(llama, data_parallel_size=given, tensor_parallel_size=2, enforce_eager=True)
    assert (cluster.engines, cluster.ranks) == (engines, 2)
    assert cluster.plan.fingerprint == checkpoint.read(llama).fingerprint
    assert (cluster.plan.checkpoint, cluster.plan.max_model_len) == (llama, 256)
    assert cluster.plan.arguments.engine == {"tensor_parallel_size": 2, "enforce_eager": True}
    # It goes to other processes, and to other machines.
    assert pickle.loads(pickle.dumps(cluster.plan)) == cluster.plan


def test_engines_share_the_memory_that_is_free(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "set_environment", lambda *_, **__: True)
    monkeypatch.setattr(engine_arguments, "free_memory", lambda: 3 * 10**9)
    asked = []
    monkeypatch.setattr(engine, "Engine", lambda arguments, **_: asked.append(arguments))
    for neighbours, own in ((3, {}), (2, {"kv_cache_memory_bytes": 7})):
        arguments = ModelArguments(engine=own)
        plan = EnginePlan(llama, llama, arguments, 256, [256] * 1000, neighbours=neighbours)
        engine.start_engine(plan)
    assert [one["kv_cache_memory_bytes"] for one in asked] == [int(0.4 * 10**9), 7]


def test_a_folder_with_another_checkpoint_is_refused(llama: Path) -> None:
    """Such as a copy on a node that was not made again after training went on."""
    plan = EnginePlan(llama, llama, ModelArguments(), 256, [256], fingerprint="0" * 64)
    with pytest.raises(
        UserError,
        match=r"llama.* on .* has the fingerprint \w{12}, and where the command runs 0{12}: copy",
    ) as caught:
        engine.start_engine(plan)
    assert "\n" not in str(caught.value)


def test_an_engine_over_machines_uses_vllms_ray_executor(llama: Path) -> None:
    plan = EnginePlan(llama, llama, ModelArguments(engine={"block_size": 16}), 256, [256])
    assert plan.over_nodes().arguments.engine == {
        "distributed_executor_backend": "ray",
        "block_size": 16,
    }


def test_without_ray_several_engines_are_one_sentence(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    model = IHAVLLM(llama, data_parallel_size=2)
    with pytest.raises(UserError, match=r"Ray, which is not installed: pip install 'iha-eval\[cl"):
        model._prepare(256, [256])


def test_a_single_engine_is_a_plain_one(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(iha_vllm, "start_engine", lambda plan, checkpoint: "an engine")
    model = IHAVLLM(llama, data_parallel_size=1)
    model._prepare(256, [256])
    assert model._engine == "an engine"  # type: ignore[comparison-overlap]


def test_a_journal_is_the_same_however_many_engines_there_are(llama: Path) -> None:
    assert (
        IHAVLLM(llama)._identity()
        == IHAVLLM(llama, data_parallel_size=2)._identity()
        != IHAVLLM(llama, block_size=16, enable_prefix_caching=False)._identity()
    )


def test_after_the_cluster_gave_up_it_is_closed(
    llama: Path,
    started: Callable[..., Recorded],
    ask: Callable[..., Instance],
) -> None:
    found = started(llama, data_parallel_size=3)
    model = IHAVLLM(llama)
    model._engine = found  # type: ignore[assignment]
    with pytest.raises(ClusterError, match=r"^All engines are gone\.$"):
        model.generate_until([ask("hello", max_gen_toks=2)])
    assert found.closed
    assert model._engine is None


@pytest.mark.parametrize(("copies", "parts"), [("auto", [2, 1, 1, 1, 1]), (3, [2, 2, 2])])
def test_samples_of_one_question_are_asked_of_all_engines(
    copies: Any,
    parts: list[int],
    llama: Path,
    started: Callable[..., Recorded],
    ask: Callable[..., Instance],
) -> None:
    """Each part from the seed that its first sample has in the whole."""
    model = IHAVLLM(llama)
    model._engine = cluster = started(llama, data_parallel_size=copies)  # type: ignore[assignment]
    with pytest.raises(ClusterError):
        model.generate_until([ask("hello", max_gen_toks=40, temperature=0.9) for _ in range(6)])
    assert [prompt.answers for prompt in cluster.asked] == parts
    seeds = [prompt.sampling.seed or 0 for prompt in cluster.asked if prompt.sampling]
    assert [seed - seeds[0] for seed in seeds] == [sum(parts[:n]) for n in range(len(parts))]


class CountedEngine(engine.Engine):
    """Ends an answer a step, and a prompt with the last of its eight."""

    most = 8
    unfinished = 0

    def __init__(self) -> None:
        self.left: list[int] = []

    def put(self, prompt: EnginePrompt, params: Any = None) -> int:
        self.left.append(prompt.answers)
        self.unfinished += prompt.answers
        return len(self.left) - 1

    def step(self) -> list[Any]:
        number = next(n for n, left in enumerate(self.left) if left)
        self.left[number] -= 1
        self.unfinished -= 1
        return [] if self.left[number] else [(number, "output")]

    def drop(self, numbers: Iterable[int]) -> None:
        assert not list(numbers)


def test_a_prompt_does_not_wait_for_the_last_answer_of_the_one_before() -> None:
    counted = CountedEngine()
    handed = []
    prompts = (EnginePrompt([1], answers=8) for _ in range(3))
    counted.run(prompts, lambda *_: handed.append(len(counted.left)), lambda: None)
    assert handed == [2, 3, 3]
