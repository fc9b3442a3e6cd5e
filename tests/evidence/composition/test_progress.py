"""The state of a training run on disk."""

from pathlib import Path

import pytest
import torch

from iha_eval.errors import UserError
from iha_eval.evidence.composition import progress
from iha_eval.evidence.composition.training import QUICK, TrainingSettings


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict(), "seen": 3}
    progress.save(tmp_path / "one.state", state, QUICK)
    loaded = progress.load(tmp_path / "one.state", QUICK)
    assert loaded is not None
    assert loaded["seen"] == 3
    assert torch.equal(loaded["weights"]["bias"], model.bias)
    assert torch.equal(
        loaded["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["one.state"]


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    assert progress.load(tmp_path / "one.state", QUICK) is None


def test_a_state_from_before_a_class_was_renamed_is_gone_on_with(tmp_path: Path) -> None:
    class Earlier:
        def __repr__(self) -> str:
            return repr(QUICK).replace("TrainingSettings", "Settings")

    progress.save(tmp_path / "one.state", {"seen": 5}, Earlier())
    assert progress.load(tmp_path / "one.state", QUICK) == {"seen": 5}


def test_a_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    progress.save(tmp_path / "one.state", {}, QUICK)
    with pytest.raises(UserError, match=r"one\.state was made with other settings"):
        progress.load(tmp_path / "one.state", TrainingSettings())


@pytest.mark.parametrize("content", ["empty", "text", "tensor", "torn", "folder"])
def test_what_is_no_state_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "one.state"
    match content:
        case "folder":
            path.mkdir()
        case "tensor":
            torch.save(torch.ones(2), path)
        case "torn":
            progress.save(path, {"seen": 3}, QUICK)
            path.write_bytes(path.read_bytes()[:-200])
        case _:
            path.write_text("" if content == "empty" else "no state")
    with pytest.raises(UserError, match="is not the state of a training run: remove it"):
        progress.load(path, QUICK)
