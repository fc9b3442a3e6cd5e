from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lm_eval.api.instance import Instance

from iha_eval.errors import UserError
from iha_eval.models.hf.model import IHAHF
from iha_eval.models.vllm.model import IHAVLLM
from iha_eval.models.vllm.worker import TILE, TiledLinear, WorkerExtension


@pytest.mark.parametrize("rows", [1, TILE - 1, TILE, 63, 129, 1000])
def test_tiles_give_the_whole_product(rows: int) -> None:
    torch.manual_seed(rows)
    weight, bias = torch.randn(24, 16), torch.randn(24)
    x = torch.randn(rows, 16)
    made = TiledLinear(torch.nn.functional.linear)(x, weight, bias)
    torch.testing.assert_close(made, x @ weight.T + bias)


def test_leading_dimensions_are_kept() -> None:
    weight = torch.randn(5, 16)
    x = torch.randn(2, 3, 16)
    made = TiledLinear(torch.nn.functional.linear)(x, weight, None)
    assert made.shape == (2, 3, 5)
    torch.testing.assert_close(made, x @ weight.T)


def test_every_product_has_the_same_number_of_rows() -> None:
    seen: list[int] = []

    def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        seen.append(len(x))
        return torch.nn.functional.linear(x, weight, bias)

    for rows in (1, 33, 100):
        TiledLinear(linear)(torch.randn(rows, 4), torch.randn(4, 4), None)
    assert set(seen) == {TILE}


def test_layers_with_a_product_of_vllms_are_wrapped_and_no_others() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    model[0].cpu_linear = torch.nn.functional.linear
    worker = WorkerExtension()
    worker.model_runner = SimpleNamespace(model=model)
    assert worker.iha_make_batch_invariant() == 1
    assert model[0].cpu_linear is not torch.nn.functional.linear
    assert not hasattr(model[1], "cpu_linear")


def test_what_cannot_be_made_so_is_refused(llama: Path, ask: Callable[..., Instance]) -> None:
    with pytest.raises(UserError, match="max_batch_size 1 answers each request alone"):
        IHAHF(llama, batch_invariant=True)
    model = IHAVLLM(llama, batch_invariant=True, enforce_eager=False)
    with pytest.raises(UserError, match="leave out enforce_eager=False"):
        model.generate_until([ask("hello", max_gen_toks=4)])


@pytest.mark.slow
def test_a_score_is_the_same_to_the_last_bit_alone_and_in_a_batch(
    llama: Path, weigh: Callable[..., Instance]
) -> None:
    """Scores, since they show every bit of what is computed."""
    asked = [weigh("hello world " * (1 + n), "and so on" * (1 + n % 3), n) for n in range(12)]
    model = IHAVLLM(llama, dtype="bfloat16", kv_cache_memory_bytes=32 * 2**20, max_model_len=256)
    together = model.loglikelihood(asked)
    assert model.get_model_info()["iha_eval"]["batch_invariant"]
    assert [model.loglikelihood([one])[0] for one in asked] == together
    model.close()


@pytest.mark.slow
def test_an_interrupted_call_on_vllm_goes_on_to_the_same_answers(
    llama: Path,
    ask: Callable[..., Instance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = [
        ask("hello world " * (1 + doc), doc, temperature=0.9, max_gen_toks=8 + 4 * doc)
        for doc in range(5)
        for _ in range(4)
    ]
    arguments = {"dtype": "bfloat16", "kv_cache_memory_bytes": 32 * 2**20}
    model = IHAVLLM(llama, journal=tmp_path, **arguments)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("iha_eval.models.run_stats.Progress.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            model.generate_until(asked)
    resumed = model.generate_until(asked)
    assert 0 < model.calls[-1].recalled < len(asked)
    monkeypatch.setattr(model, "arguments", replace(model.arguments, journal=""))
    assert model.generate_until(asked) == resumed
    assert model.calls[-1].recalled == 0
    model.close()
