import copy
import json
import pickle

import pytest

from iha_eval.current_model import GeneratedText, share_cut


@pytest.mark.parametrize("cut", [True, False])
def test_it_is_its_text_and_survives_copies(cut: bool) -> None:
    made = GeneratedText("4", cut=cut)
    assert (made, json.dumps([made])) == ("4", '["4"]')
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert (again, again.cut) == ("4", cut)


def test_lm_eval_may_make_others_of_its_type() -> None:
    made = GeneratedText(3)
    assert (made, made.cut) == ("3", None)


def test_the_share_of_cut_answers() -> None:
    made = [GeneratedText(str(n), cut=n < 3) for n in range(4)]
    assert share_cut(made) == 0.75


@pytest.mark.parametrize(
    "answers",
    [[], ["a"], [GeneratedText("a", cut=True), "b"]],
    ids=["none", "unknown", "some unknown"],
)
def test_where_an_answer_does_not_tell_there_is_no_share(answers: list[str]) -> None:
    assert share_cut(answers) is None
