"""How often a run holds the token ids of its prompts: once."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from iha_eval.models.vllm.model import IHAVLLM

DOCUMENTS, LENGTH = 100, 2000
# Of a packed prompt; what Python adds to each is below a tenth.
BYTES = 4 * DOCUMENTS * LENGTH


class Watched:
    """An engine that answers nothing, and looks how much memory is taken half way through."""

    max_model_len = 4096
    non_finite = 0
    wanted = 1

    def __init__(self) -> None:
        self.taken = 0

    def run(self, prompts: Iterator[Any], finished: Any, beat: Any) -> None:
        for _ in range(DOCUMENTS // 2):
            next(prompts)
        self.taken = tracemalloc.get_traced_memory()[0]

    def prefix_hits(self) -> int:
        return 0

    def kv_cache(self) -> None:
        return None


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "samples"), [("generate", 1), ("generate", 4), ("score", 1)], ids=str
)
@pytest.mark.usefixtures("traced")
def test_prompts_are_held_once_and_shared_by_samples(
    kind: str,
    samples: int,
    llama: Path,
    ask: Callable[..., Instance],
    weigh: Callable[..., Instance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = IHAVLLM(llama)
    engine = Watched()
    monkeypatch.setattr(model, "_limit", None)
    monkeypatch.setattr(model, "_prepare", lambda *_: setattr(model, "_engine", engine))
    texts = [f"{number} " + "abcd " * (LENGTH // 5) for number in range(DOCUMENTS)]
    if kind == "generate":
        asked = [
            ask(text, number, temperature=0.6, max_gen_toks=8)
            for number, text in enumerate(texts)
            for _ in range(samples)
        ]
        call: Any = model.generate_until
    else:
        asked = [weigh(text, " end", number) for number, text in enumerate(texts)]
        call = model.loglikelihood
    before = tracemalloc.get_traced_memory()[0]
    call(asked, disable_tqdm=True)
    # The rest is what a request says of itself, a kilobyte each.
    assert BYTES < engine.taken - before < 1.3 * BYTES + 2000 * len(asked)
