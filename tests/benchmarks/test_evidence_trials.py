"""The trials of IHA's first weights: the default is the experiment's own, random is another."""

from pathlib import Path

import pytest
import torch

from iha_eval.evidence.composition import network

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import evidence_trials

    def weights() -> dict[str, torch.Tensor]:
        return network.build("IHA", 32, 8, seed=3).attention.state_dict()

    usual = weights()
    for start, distance in (("0.02", 0.0), ("0.5", 0.48)):
        monkeypatch.setattr(
            evidence_trials.mixers, "_near", lambda eye, s=start: evidence_trials.first(s, eye)
        )
        moved = weights()["alpha_q"] - usual["alpha_q"]
        assert float(moved.std()) == pytest.approx(distance, abs=0.05)
    monkeypatch.setattr(
        evidence_trials.mixers, "_near", lambda eye: evidence_trials.first("random", eye)
    )
    tensors = weights()
    assert float(tensors["alpha_k"].std()) == pytest.approx(8**-0.5, rel=0.15)
    assert float(tensors["collapse"].std()) == pytest.approx(64**-0.5, rel=0.15)
