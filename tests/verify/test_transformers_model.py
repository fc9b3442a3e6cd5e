"""Transformers reads whole and with a cache, and both say the same."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from iha_eval.errors import UserError
from iha_eval.verify.compare import choices, differences, exact_limit
from iha_eval.verify.prompts import Prompt
from iha_eval.verify.transformers_model import TransformersModel

PROMPTS = [Prompt("1 token", (7,)), Prompt("60 tokens", tuple(range(100, 160)))]


@pytest.mark.parametrize("name", ["base", "windowed"])
def test_cached_and_whole_readings_agree(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(name)
    with TransformersModel(folder, "float32") as model:
        sequences, cached = model.continued(PROMPTS, 5)
        sdpa, eager = model.read(sequences), model.read(sequences, "eager")
    assert [len(one.answer) for one in sequences] == [5, 5]
    assert [row.first for row in cached.rows] == [1, 60]
    assert (cached.name, cached.whole) == ("Transformers cached", False)
    assert (sdpa.name, eager.name) == ("Transformers sdpa", "Transformers eager")
    for reading in (cached, eager):
        found = differences(reading, sdpa, sequences, exact_limit(1e-4))
        assert all(one.agrees and one.count for one in found)
    # The continuation is the greedy one.
    assert not [one for one in choices(sdpa, sequences, 1e-4) if not one.tie]


def test_it_is_freed_and_computes_in_the_type_that_was_asked_for(base: Path) -> None:
    with TransformersModel(base, "bfloat16", "Transformers bf16") as model:
        inner = weakref.ref(model._model)
        assert inner().dtype == torch.bfloat16
        sequences, _ = model.continued(PROMPTS[:1], 2)
        assert model.read(sequences).name == "Transformers bf16 sdpa"
    gc.collect()
    assert inner() is None


def test_a_refusal_of_transformers_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing-like-it"}')
    with (
        pytest.raises(UserError, match=r"does not load .*iha-eval doctor") as caught,
        TransformersModel(tmp_path, "float32"),
    ):
        pass
    assert "\n" not in str(caught.value)
