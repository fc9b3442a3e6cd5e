import json
from pathlib import Path

import pytest

from iha_eval.models import run_stats
from iha_eval.models.run_stats import CallStats, KVCache, covered


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0.0),
        ([(1.0, 3.0)], 2.0),
        ([(1.0, 3.0), (2.0, 5.0)], 4.0),
        ([(4.0, 5.0), (1.0, 2.0)], 2.0),
        ([(0.0, 9.0), (1.0, 2.0), (8.0, 10.0)], 10.0),
    ],
)
def test_covered_time_counts_overlaps_once(spans: list[tuple[float, float]], length: float) -> None:
    assert covered(spans) == pytest.approx(length)


def two_requests() -> CallStats:
    call = CallStats("generate_until", seconds=10.0, cached_tokens=100)
    call.add(prompt=100, generated=11, times=(0.0, 2.0, 7.0))
    call.add(prompt=300, generated=21, times=(1.0, 3.0, 8.0))
    return call


def test_rates_are_over_the_time_a_phase_was_under_way() -> None:
    call = two_requests()
    # 300 tokens computed between 0 and 3, 30 tokens after the first between 2 and 8.
    assert call.prefill_rate == pytest.approx(100.0)
    assert call.generation_rate == pytest.approx(5.0)


def test_without_times_there_are_no_rates() -> None:
    call = CallStats("loglikelihood", seconds=1.0)
    call.add(prompt=5, generated=0)
    assert (call.prefill_rate, call.generation_rate) == (None, None)
    assert "speed" not in call.text()


def test_one_token_each_has_no_generation_rate() -> None:
    call = CallStats("generate_until")
    call.add(prompt=5, generated=1, times=(0.0, 1.0, 1.0))
    assert call.generation_rate is None


def test_the_results_hold_every_figure() -> None:
    figures = json.loads(json.dumps(two_requests().as_dict()))
    assert figures["requests"] == 2
    assert figures["prompt_tokens"] == 400
    assert figures["prompt_tokens_from_prefix_cache"] == 100
    assert figures["generated_tokens"] == 32
    assert figures["prefill_seconds"] == pytest.approx(3.0)
    assert figures["generation_seconds"] == pytest.approx(6.0)


def test_the_printed_block_holds_every_figure() -> None:
    text = two_requests().text(KVCache(tokens=4096, bytes=3 * 2**20))
    assert text == (
        "generate_until: 2 requests in 10.0 s\n"
        "  tokens    prompt 400 (100 from the prefix cache), generated 32\n"
        "  speed     prefill 100.0 tok/s, generation 5.0 tok/s (each while it was under way)\n"
        "  KV cache  4,096 tokens, 3 MiB"
    )
    assert two_requests().text(KVCache(tokens=8, bytes=None)).endswith("8 tokens")


def test_answers_of_one_prompt_are_requests_of_their_own() -> None:
    call = CallStats("generate_until")
    call.add(prompt=400, generated=50, times=(0.0, 1.0, 10.0), answers=4)
    # 46 tokens after the first of each.
    assert call.generation_rate == pytest.approx(46 / 9)
    assert call.as_dict()["requests"] == 4


def test_cut_and_recalled_answers_are_told() -> None:
    call = CallStats("generate_until", recalled=7, cut=3)
    call.add(prompt=1, generated=1)
    assert "1 requests in 0.0 s, 7 more from the journal" in call.text()
    assert "  cut       3 by their generation budget" in call.text()
    assert call.as_dict()["recalled_from_journal"] == 7
    assert call.as_dict()["cut_by_budget"] == 3


def test_the_bar_shows_requests_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    with run_stats.Progress(2, "asked") as bar:
        bar.finish(10, 5)
        bar.finish(10, 5)
    drawn = capsys.readouterr().err
    assert "asked" in drawn
    assert "2/2" in drawn
    assert "tok/s" in drawn


def test_the_bar_lives_while_nothing_finishes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stats, "HEARTBEAT", 0.0)
    with run_stats.Progress(2, "asked") as bar:
        before = len(capsys.readouterr().err)
        bar.beat()
        assert len(capsys.readouterr().err) > 0
    assert before > 0


def test_nothing_is_drawn_if_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with run_stats.Progress(1, "asked", shown=False) as bar:
        bar.finish(1, 1)
        bar.beat()
    assert capsys.readouterr().err == ""


def test_progress_is_in_a_file_for_dashboards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_stats, "HEARTBEAT", 0.0)
    file = tmp_path / "progress.json"
    with run_stats.Progress(2, "asked", shown=False, file=str(file), engines=lambda: 3) as bar:
        begun = json.loads(file.read_text())
        assert (begun["done"], begun["total"], begun["seconds_left"]) == (0, 2, None)
        bar.finish(10, 5)
        figures = json.loads(file.read_text())
        assert (figures["done"], figures["engines"], figures["ended"]) == (1, 3, False)
        assert (figures["prompt_tokens"], figures["generated_tokens"]) == (10, 5)
        assert figures["seconds_left"] > 0
        bar.finish(10, 5)
    ended = json.loads(file.read_text())
    assert (ended["done"], ended["ended"], ended["seconds_left"]) == (2, True, 0)


def test_a_variable_names_the_file_and_one_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(run_stats.JSON_PROGRESS, str(tmp_path / "named.json"))
    with run_stats.Progress(1, "asked", shown=False):
        assert (tmp_path / "named.json").exists()
    file = tmp_path / "nowhere" / "progress.json"
    with run_stats.Progress(1, "asked", shown=False, file=str(file)) as bar:
        bar.finish(1, 1)
    assert caplog.text.count("no progress there") == 1
