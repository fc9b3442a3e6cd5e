from collections.abc import Callable
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, lines, ruler_task, voting_task

from iha_eval.compare.analysis.report_rows import PlannedBenchmark, metric_label, plan
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.errors import UserError
from iha_eval.ruler import TASKS, leaf_name

Paired = Callable[..., Pairing]


def _plan(paired: Paired, tasks: dict[str, FakeTask], **results: Any) -> list[PlannedBenchmark]:
    made = paired(tasks, tasks)
    made.runs["iha"].results.update(results)  # type: ignore[attr-defined]
    return plan(made)


def _rows(benchmark: PlannedBenchmark, table: int = 0) -> list[str]:
    return [f"{row.label}{'!' if row.decides else ''}" for row in benchmark.tables[table].rows]


def test_ruler_is_laid_out_by_length_and_variant(paired: Paired) -> None:
    names = [f"ruler_mk_multikey_{v}_{n}" for n in ("16k", "4k", "1000") for v in (2, 1)]
    [made] = _plan(paired, {name: ruler_task([1.0]) for name in names})
    assert made.name == "ruler_mk"
    assert [table.metric for table in made.tables] == ["string_match", "first_answer"]
    cells = [
        *("multikey_1, 1000", "multikey_2, 1000", "all variants, 1000"),
        *("multikey_1, 4k", "multikey_2, 4k", "all variants, 4k"),
        *("multikey_1, 16k", "multikey_2, 16k", "all variants, 16k"),
    ]
    assert _rows(made) == [*cells, "all lengths and variants!"]
    assert _rows(made, 1) == [*cells, "all lengths and variants"]
    mean = made.tables[0].rows[5]
    assert (mean.task, mean.variant, mean.length) == ("ruler_mk_4k", None, 4096)
    assert len(made.tables[0].rows[-1].columns) == 6


def test_one_ruler_cell_has_no_mean_of_variants(paired: Paired) -> None:
    [made] = _plan(paired, {"ruler_mk_multikey_3_8k": ruler_task([1.0])})
    assert _rows(made) == ["multikey_3, 8k", "all lengths and variants!"]


def test_rows_of_several_ruler_cells_say_which_are_left_out(paired: Paired) -> None:
    names = [f"ruler_mk_multikey_{v}_{n}" for n in ("4k", "8k") for v in (1, 2, 3)]
    ours = {name: ruler_task([1.0]) for name in names}
    [made] = plan(paired(ours, {name: ours[name] for name in names[1:]}))
    for table in (0, 1):
        rows = {row.label: row.partial for row in made.tables[table].rows if len(row.columns) > 1}
        assert rows == {
            "all that were compared, 4k (2 of 3 variants)": True,
            "all variants, 8k": False,
            "all that were compared (5 of 6 cells)": True,
        }


def test_p_at_1_and_the_largest_vote_decide(paired: Paired) -> None:
    tasks = {
        "gsm8k_5shot_em": FakeTask(
            lines("exact_match", [1.0]),
            {"dataset_kwargs": {"benchmark": "gsm8k", "voting": False}},
        ),
        "gsm8k_5shot_maj": voting_task([4], votes=(1, 2)),
        "gsm8k_maj": voting_task([4]),
    }
    [made] = _plan(paired, tasks)
    assert [table.label for table in made.tables] == [f"GSM8K: {name}" for name in tasks]
    assert _rows(made, 0) == ["exact match"]
    assert _rows(made, 1) == ["P@1", "Maj@2", "pass@2"]
    assert _rows(made, 2) == ["P@1!", "Maj@2", "Maj@4!", "pass@2", "pass@4"]


@pytest.mark.parametrize(
    ("task", "deciding"),
    [
        (
            FakeTask(
                lines("exact_match", [1.0]),
                {"dataset_kwargs": {"benchmark": "math500", "voting": False}},
            ),
            "exact match!",
        ),
        (voting_task([1], k=1, votes=(1,), benchmark="math500"), "P@1!"),
    ],
    ids=["greedy", "one vote"],
)
def test_without_votes_the_only_score_decides(
    paired: Paired, task: FakeTask, deciding: str
) -> None:
    [made] = _plan(paired, {"math": task})
    assert made.label == "MATH-500"
    assert _rows(made) == [deciding]


def test_other_tasks_of_a_group_are_taken_together(paired: Paired) -> None:
    tasks = {
        name: FakeTask([line(0, {"acc": 1.0, "acc_norm": 1.0})]) for name in ("law", "art", "solo")
    }
    groups = {"nightly": ["mmlu", "solo"], "mmlu": ["hum"], "hum": ["law", "art"], "odd": "x"}
    made = _plan(paired, tasks, group_subtasks=groups, groups={"mmlu": {}, "hum": {}})
    assert [one.name for one in made] == ["mmlu", "solo"]
    assert [table.label for table in made[0].tables] == ["mmlu: acc", "mmlu: acc norm"]
    assert _rows(made[0]) == ["law", "art", "all of mmlu!"]
    assert _rows(made[0], 1) == ["law", "art", "all of mmlu"]
    assert _rows(made[1]) == ["solo!"]


def test_filters_have_tables_of_their_own(paired: Paired) -> None:
    both = [line(0, {"exact_match": 1.0}, filter_name=name) for name in ("strict", "loose")]
    [made] = _plan(paired, {"gsm8k": FakeTask(both)})
    assert [table.metric for table in made.tables] == ["exact_match,strict", "exact_match,loose"]
    assert made.tables[1].metric_label == "exact match (loose)"


def test_groups_that_hold_each_other_do_no_harm(paired: Paired) -> None:
    task = {"quiz": FakeTask(lines("acc", [1.0]))}
    [made] = _plan(paired, task, group_subtasks={"a": ["quiz", "b"], "b": ["a"]}, groups={"a": {}})
    assert made.name == "a"


def test_what_is_no_score_is_left_out_and_told(paired: Paired) -> None:
    scores = {"acc": 1.0, "ppl": 9.5, "delta": -1.0, "pair": [1, 2], "wer": 0.5, "cut": 0.5}
    task = FakeTask([line(0, scores)], higher_is_better={"wer": False})
    [made] = _plan(paired, {"quiz": task})
    assert [table.metric for table in made.tables] == ["acc"]
    [warning] = made.warnings
    assert warning.startswith("quiz: ppl, delta, pair, wer left out")


@pytest.mark.parametrize(
    ("scores", "words"),
    [({"ppl": 9.5}, "quiz: ppl left out"), ({}, "quiz has no metric in both runs")],
    ids=["unfit", "none"],
)
def test_runs_without_anything_to_compare_are_refused(
    paired: Paired, scores: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=f"nothing to compare .{words}"):
        _plan(paired, {"quiz": FakeTask([line(0, scores)])})


def test_benchmarks_have_an_order(paired: Paired) -> None:
    tasks = {
        "quiz": FakeTask(lines("acc", [1.0])),
        "math": voting_task([1], benchmark="math500"),
        "gsm": voting_task([1]),
        "ruler_mk_multikey_1_4k": ruler_task([1.0]),
    }
    assert [one.name for one in _plan(paired, tasks)] == ["ruler_mk", "gsm8k", "math500", "quiz"]


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("string_match", "string match"),
        ("p@1", "P@1"),
        ("maj@16", "Maj@16"),
        ("pass@8", "pass@8"),
        ("acc_norm", "acc norm"),
        ("exact_match,strict-match", "exact match (strict-match)"),
    ],
)
def test_metrics_have_labels(metric: str, label: str) -> None:
    assert metric_label(metric) == label


def test_rulers_own_tasks_are_laid_out_by_length_in_rulers_order(paired: Paired) -> None:
    names = [f"ruler_{t}_{n}" for n in ("8k", "4k") for t in ("vt", "niah_single_2", "qa_1")]
    task = FakeTask([line(int(n), {"string_match": n, "strict_match": 1.0}) for n in (0.0, 1.0)])
    [made] = _plan(paired, dict.fromkeys(names, task))
    assert (made.name, made.label) == ("ruler_all", "RULER")
    assert [table.metric for table in made.tables] == ["string_match", "strict_match"]
    assert _rows(made) == [
        *("niah_single_2, 4k", "vt, 4k", "qa_1, 4k", "3 of 13 tasks, 4k"),
        *("niah_single_2, 8k", "vt, 8k", "qa_1, 8k", "3 of 13 tasks, 8k"),
        "3 of 13 tasks, all lengths!",
    ]
    # Trackers know rows by these.
    tasks = [row.task for row in made.tables[0].rows if row.variant is None]
    assert tasks == [f"ruler_all{length} (3 of 13)" for length in ("_4k", "_8k", "")]


def test_all_thirteen_tasks_are_called_so(paired: Paired) -> None:
    task = FakeTask([line(0, {"string_match": 1.0, "strict_match": 1.0})])
    tasks = {leaf_name(title, 4096): task for title in TASKS}
    [made] = _plan(paired, tasks)
    assert _rows(made)[-2:] == ["all 13 tasks, 4k", "all lengths and tasks!"]
