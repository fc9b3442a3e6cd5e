import pytest

from iha_eval.models import progress


def test_the_bar_shows_requests_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress(2, "asked") as bar:
        bar.finish(10, 5)
        bar.finish(10, 5)
    drawn = capsys.readouterr().err
    assert "asked" in drawn
    assert "2/2" in drawn
    assert "tok/s" in drawn


def test_the_bar_lives_while_nothing_finishes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.0)
    with progress.Progress(2, "asked") as bar:
        before = len(capsys.readouterr().err)
        bar.beat()
        assert len(capsys.readouterr().err) > 0
    assert before > 0


def test_nothing_is_drawn_if_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress(1, "asked", shown=False) as bar:
        bar.finish(1, 1)
        bar.beat()
    assert capsys.readouterr().err == ""
