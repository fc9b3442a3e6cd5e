"""What is measured of a run: metrics, filters, groups, hashes, facts."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import (
    FakeTask,
    line,
    lines,
    ruler_task,
    samples_file,
    voting_task,
    write_run,
)

from iha_eval.nightly.measures import Measure, measure


def found(tmp_path: Path, tasks: dict[str, FakeTask], *patterns: str, **more: Any) -> list[Measure]:
    return list(measure(write_run(tmp_path, tasks, **more), patterns).measures)


def test_scores_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    samples = lines("m", [0.1, None, 0.3, 1.0])
    [one] = found(tmp_path, {"t": FakeTask(samples[::-1])})
    assert (one.key, one.scores) == (("t", "m"), (0.1, None, 0.3, 1.0))
    assert one.higher


def test_the_first_metric_is_watched_unless_others_are_named(tmp_path: Path) -> None:
    better = {"cut": False, "p@1": True, "maj@4": True}
    task = voting_task([1, 2])
    task.higher_is_better = better

    def watched(*patterns: str) -> list[str]:
        measures = found(tmp_path, {"t": task}, *patterns)
        return [one.metric for one in measures if one.watched]

    assert watched() == ["p@1"]
    assert watched("maj@*") == ["maj@4", "maj@1", "maj@2"]
    assert watched("cut", "pass@1") == ["cut", "pass@1"]
    assert watched("nothing") == []
    by_name = {one.metric: one for one in found(tmp_path, {"t": task})}
    assert not by_name["cut"].higher
    assert by_name["maj@1"].higher


def test_filters_are_apart(tmp_path: Path) -> None:
    samples = [
        *(line(n, {"em": 1.0}, filter_name="strict") for n in range(2)),
        *(line(n, {"em": 0.0}, filter_name="loose") for n in range(3)),
    ]
    measures = found(tmp_path, {"t": FakeTask(samples)})
    assert [(one.metric, len(one.scores), one.watched) for one in measures] == [
        ("em,loose", 3, True),
        ("em,strict", 2, False),
    ]


@pytest.mark.parametrize("odd", [1.5, -0.1, 1e6])
def test_what_is_no_share_is_left_out(odd: float, tmp_path: Path) -> None:
    samples = [line(n, {"ppl": odd if n else 0.5, "m": math.nan}) for n in range(3)]
    [one] = found(tmp_path, {"t": FakeTask(samples)})
    assert (one.metric, one.scores, one.watched) == ("m", (None, None, None), True)


def oddly(tmp_path: Path, odd: int, metric: str = "p@1", *patterns: str) -> Any:
    """Measures and warnings of a run of which some scores of a metric are no shares."""
    scores = [{"p@1": 1.0, "other": 1.0} | ({metric: 1.5} if n < odd else {}) for n in range(10)]
    task = FakeTask([line(n, one) for n, one in enumerate(scores)])
    task.higher_is_better = {"p@1": True, "other": True}
    read = measure(write_run(tmp_path, {"t": task}), patterns)
    return {one.metric: (one.watched, one.scores.count(None)) for one in read.measures}, [
        *read.warnings
    ]


@pytest.mark.parametrize(
    ("odd", "metrics", "warnings"),
    [
        (
            5,
            {"p@1": (True, 5), "other": (False, 0)},
            ["t p@1: 5 of 10 scores are not between 0 and 1 and count as lost."],
        ),
        (
            6,
            {"other": (True, 0)},
            ["t p@1: most scores are not between 0 and 1, so only other is watched."],
        ),
    ],
    ids=["half of them", "most of them"],
)
def test_a_watched_score_out_of_range_is_told(
    odd: int, metrics: Any, warnings: list[str], tmp_path: Path
) -> None:
    assert oddly(tmp_path, odd) == (metrics, warnings)


def test_a_score_out_of_range_that_nobody_watches_is_left_out(tmp_path: Path) -> None:
    assert oddly(tmp_path, 1, "other") == ({"p@1": (True, 0)}, [])
    assert oddly(tmp_path, 1, "p@1", "other") == ({"other": (True, 0)}, [])


def test_questions_without_a_hash_are_known(tmp_path: Path) -> None:
    samples = lines("m", [1.0, 0.0])
    whole = {"a": FakeTask(samples), "b": FakeTask([{**samples[0], "doc_hash": None}, samples[1]])}
    measures = found(tmp_path, whole, group_subtasks={"g": ["a", "b"]})
    assert {one.task: one.hashed for one in measures} == {"a": True, "b": False, "g": False}


def test_the_room_of_a_model_is_known(tmp_path: Path) -> None:
    tasks = {name: FakeTask(lines("m", [1.0])) for name in "ab"}
    groups = {"g": ["a", "b"]}
    measures = found(tmp_path / "1", tasks, group_subtasks=groups, max_length=8192)
    assert [one.room for one in measures] == ["8192"] * 3
    assert {one.settings for one in found(tmp_path / "2", tasks)} == {measures[0].settings}


def test_a_task_with_nothing_to_watch_is_told(tmp_path: Path) -> None:
    tasks = {
        "perplexity": FakeTask(lines("ppl", [7.0])),
        "less": FakeTask(lines("m", [1.0]), higher_is_better={"m": False}),
        "m": FakeTask(lines("m", [1.0])),
    }
    file = write_run(tmp_path, tasks)
    assert measure(file).warnings == (
        "less, perplexity has no score between 0 and 1 of which more is better: not watched.",
    )
    # By their patterns, users say themselves what is watched.
    assert measure(file, ["m"]).warnings == ()


def test_logits_that_were_not_finite_are_told(tmp_path: Path) -> None:
    results = write_run(tmp_path, {"t": FakeTask(lines("m", [1.0]))})
    content = json.loads(results.read_text())
    content["config"]["iha_eval"]["summary"][0]["non_finite_logits"] = 3
    results.write_text(json.dumps(content))
    [warning] = measure(results).warnings
    assert "not finite (NaN or infinite) at 3 places" in warning


def test_the_questions_of_nested_groups_are_put_together(tmp_path: Path) -> None:
    tasks = {name: ruler_task([float(i)] * 2) for i, name in enumerate(("b_4k", "a_4k"))}
    tasks["c_8k"] = ruler_task([0.0] * 3)
    groups = {"r": ["r_4k", "r_8k"], "r_4k": ["b_4k", "a_4k"], "r_8k": ["c_8k"], "none": None}
    measures = {one.key: one for one in found(tmp_path, tasks, group_subtasks=groups)}
    assert len(measures) == 8
    assert {task for task, _ in measures} == {"a_4k", "b_4k", "c_8k", "r"}
    whole = measures["r", "string_match"]
    assert whole.scores == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert whole.watched
    assert not measures["r", "first_answer"].watched


def test_a_group_of_some_tasks_says_so(tmp_path: Path) -> None:
    tasks = {name: FakeTask(lines("m", [1.0])) for name in "abcd"}
    aliases = {"g": "g (2 of 13)", "h": "another name"}
    results = {name: {"alias": alias} for name, alias in aliases.items()}
    groups = {"g": ["a", "b"], "h": ["c", "d"]}
    measures = found(tmp_path, tasks, group_subtasks=groups, results=results)
    assert [one.task for one in measures[4:]] == ["g (2 of 13)", "h"]


def test_a_group_is_watched_where_all_its_tasks_are(tmp_path: Path) -> None:
    orders = {"a": {"m": True, "k": True}, "b": {"k": True, "m": True}}
    tasks = {
        name: FakeTask([line(0, {"m": 1.0, "k": 0.0})], higher_is_better=order)
        for name, order in orders.items()
    }
    measures = found(tmp_path, tasks, group_subtasks={"g": ["a", "b"]})
    assert [one.key for one in measures if one.watched] == [("a", "m"), ("b", "k")]


@pytest.mark.parametrize(
    "groups",
    [{"g": ["a"]}, {"g": ["a", "gone"]}, {"g": ["a", "b"]}],
    ids=["of one", "with a task that was not run", "without a common metric"],
)
def test_a_group_needs_two_tasks_with_one_metric(groups: Any, tmp_path: Path) -> None:
    tasks = {"a": FakeTask(lines("m", [1.0])), "b": FakeTask(lines("k", [1.0]))}
    measures = found(tmp_path, tasks, group_subtasks=groups)
    assert [one.task for one in measures] == ["a", "b"]


@pytest.mark.parametrize("part", ["prompt", "gold", "document", "number"])
def test_equal_hashes_mean_equal_questions(part: str, tmp_path: Path) -> None:
    def documents(name: str, **changes: Any) -> str:
        number = changes.pop("number", 0)
        samples = [line(number, {"m": 1.0}, **changes)]
        return found(tmp_path / name, {"t": FakeTask(samples)})[0].documents

    plain = documents("plain")
    # Outputs and scores are no part of a question.
    assert documents("same", answers=["other"]) == plain
    changes: dict[str, Any] = {"prompt": "other", "gold": "other", "document": 1, "number": 1}
    assert documents("other", **{part: changes[part]}) != plain


def test_settings_are_part_of_a_measure(tmp_path: Path) -> None:
    task = FakeTask(lines("m", [1.0]))
    plain, same, other = (
        found(tmp_path / name, {"t": task}, config={"fewshot_seed": seed})[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 5))
    )
    assert plain.settings == same.settings != other.settings
    assert (plain.asked["fewshot_seed"], other.asked["fewshot_seed"]) == (1, 5)


def test_questions_tell_how_many_were_asked_and_prompts_their_template(tmp_path: Path) -> None:
    few, many = lines("m", [1.0, 0.0]), lines("m", [1.0, 0.0, 1.0])
    template: dict[str, Any] = {"chat_template_sha": "x"}
    [one] = found(tmp_path / "a", {"t": FakeTask(few)}, config={"limit": 2}, **template)
    [other] = found(tmp_path / "b", {"t": FakeTask(many)})
    assert one.settings == other.settings
    assert one.documents != other.documents
    assert one.questions == other.questions[:2]
    assert len(set(other.questions)) == 3


def test_what_a_run_was_to_ask_and_what_its_samples_lack(tmp_path: Path) -> None:
    tasks = {"a": FakeTask(lines("m", [1.0] * 3)), "b": FakeTask(lines("m", [1.0] * 2))}
    counts = {"a": {"original": 9, "effective": 4}, "b": {"original": 9, "effective": 2}}
    file = write_run(tmp_path, tasks, group_subtasks={"g": ["a", "b"]}, **{"n-samples": counts})
    samples = samples_file(file, "a")
    samples.write_text(samples.read_text()[:-20] + "\n")
    read = measure(file)
    assert {one.task: (len(one.scores), one.expected) for one in read.measures} == {
        "a": (2, 4),
        "b": (2, 2),
        "g": (4, 6),
    }
    group = read.measures[-1]
    assert [name[:2] for name in group.questions] == ["a ", "a ", "b ", "b "]
    assert group.asked["repeats of b"] == 1
    assert read.warnings == (
        f"{samples.name} has 1 broken line (line 3): these documents are left out.",
    )
    for name in ("a", "b"):
        del counts[name]
        file = write_run(tmp_path / name, tasks, **{"n-samples": counts})
        assert {one.task: one.expected for one in measure(file).measures}[name] is None


def test_a_group_of_which_a_task_does_not_tell_does_not_tell(tmp_path: Path) -> None:
    tasks = {name: FakeTask(lines("m", [1.0])) for name in "ab"}
    counts = {"n-samples": {"a": {"effective": 1}}, "group_subtasks": {"g": ["a", "b"]}}
    assert [one.expected for one in found(tmp_path, tasks, **counts)] == [1, None, None]


def test_facts_of_our_runs_and_of_others(tmp_path: Path) -> None:
    task = {"t": FakeTask(lines("m", [1.0]))}
    assert measure(write_run(tmp_path / "a", task)).facts == {
        "name": "models/iha",
        "fingerprint": "f" * 64,
        "versions": {"iha_eval": "0.1.0", "vllm": "0.32.0"},
    }
    theirs = write_run(tmp_path / "b", task, ours=False, config={"model_sha": "abc"})
    assert measure(theirs).facts == {
        "name": "some/model",
        "fingerprint": "abc",
        "versions": {"lm_eval": "0.4.13", "transformers": "5.19.0"},
    }
    assert measure(write_run(tmp_path / "c", task, ours=False)).facts["fingerprint"] is None
