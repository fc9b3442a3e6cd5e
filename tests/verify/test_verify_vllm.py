"""A conversion with windows against its base, on real engines in processes of their own."""

from pathlib import Path

import pytest

from iha_eval.verify.report import judge
from iha_eval.verify.run import Request, verify


@pytest.mark.slow(80)
def test_vllm_agrees_with_all_others_and_a_conversion_with_its_base(
    windowed: Path, base: Path
) -> None:
    """Prompts of up to 495 tokens in chunks of 256, decoded after hits in the prefix cache."""
    report = verify(Request(str(windowed), against=str(base)))
    verdict = judge(report)
    assert verdict.agree, verdict.sentence
    (beyond,) = report.unchecked
    assert beyond.startswith("what lies beyond the window of 40 tokens, where it is expected to")
    assert [len(one.prompt.ids) for one in report.sequences] == [1, 63, 129, 495]
    compared = {
        (one.first, one.second): one for one in report.differences if one.count and one.limit
    }
    assert {
        ("vLLM", "Transformers sdpa"),
        ("vLLM", "Transformers eager"),
        ("vLLM", "naive"),
        ("vLLM decoding", "Transformers sdpa"),
        ("base vLLM", "vLLM"),
        ("base vLLM decoding", "Transformers sdpa"),
    } <= set(compared)
    assert 0 < max(one.largest for one in compared.values()) < 1e-4
    served = {one.name: one for one in report.readings}
    assert [row.end for row in served["vLLM decoding"].rows] == [17, 79, 145, 511]
    # One block of 128 tokens of the 129, three of the 495.
    (note,) = [note for note in report.notes if note.startswith("vLLM ran")]
    assert "generated with 512 prompt tokens out of its prefix cache" in note
