"""Logits that are not finite, on an engine of their own: vLLM has one at a time in a process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from iha_eval.errors import UserError
from iha_eval.models.vllm.model import IHAVLLM

Make = Callable[..., Instance]


@pytest.mark.slow
def test_logits_that_are_not_finite_stop_the_run_or_are_counted(
    overflowing: Path, ask: Make, weigh: Make, tmp_path: Path
) -> None:
    model = IHAVLLM(overflowing, kv_cache_memory_bytes=32 * 2**20, max_num_seqs=8, journal=tmp_path)
    asked = [ask("hello", n, max_gen_toks=4, temperature=n) for n in range(2)]
    try:
        for run in (
            lambda: model.generate_until(asked),
            lambda: model.loglikelihood([weigh("a", "b")]),
        ):
            with pytest.raises(UserError, match="logits are not finite"):
                run()
        (journal,) = tmp_path.iterdir()
        assert '"key"' not in journal.read_text()
        model.arguments = replace(model.arguments, non_finite_logits="count", journal="")
        assert len(model.generate_until(asked)) == 2
        assert model.calls[-1].non_finite == 8
        assert model.loglikelihood([weigh("a", "b")]) == [(float("-inf"), False)]
    finally:
        model.close()
