"""Training texts: what they are, that they repeat, and that they are apart from evaluation."""

import pytest

from iha_eval.ruler import LENGTHS, VARIANTS, RulerCell
from iha_eval.ruler.draw import Stream
from recipes.needle.curriculum import Stage, batch
from recipes.needle.documents import IGNORED, Writer, evaluation_keys
from recipes.needle.tokenizer import make_tokenizer


@pytest.fixture(scope="module")
def writer():
    return Writer(make_tokenizer())


def text(writer, name="multikey_2", length=512, share=0.3, number=0):
    return writer.write(VARIANTS[name], length, share, Stream("test", name, number))


@pytest.mark.parametrize("name", VARIANTS)
def test_text_is_the_evaluation_prompt_with_its_answer(writer, name):
    """Tokens up to the first answer are those of the prompt as lm-eval would give it."""
    tokenizer, written = make_tokenizer(), text(writer, name)
    whole = tokenizer.decode(written.ids).removeprefix(tokenizer.bos_token)
    assert tokenizer(whole)["input_ids"] == written.ids
    prompt = tokenizer.decode(written.ids[1 : written.prompt])
    key = prompt.split(" for ")[-1].split(" mentioned")[0]
    head, _, rest = VARIANTS[name].question("\0", key).partition("\0")
    assert prompt.startswith(head)
    assert prompt.endswith(f"{rest} {VARIANTS[name].answer_prefix(key)}")
    assert whole[len(prompt) :].startswith(f" {dict(written.needles)[key]}.{tokenizer.eos_token}")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_answer_is_learnt_and_right(writer, name):
    tokenizer, written = make_tokenizer(), text(writer, name, share=0.5)
    needles, learnt = dict(written.needles), tokenizer.decode(written.ids).split("\n")
    asked = [line for line in learnt if line.startswith("The special")]
    for line in asked:
        key, value = line.split(" for ")[1].split(" mentioned")[0], line.split(" text is ")[1]
        assert value == f"{needles[key]}.{tokenizer.eos_token}"
    ends = written.targets.count(tokenizer.eos_token_id)
    assert ends == written.ids.count(tokenizer.eos_token_id) == len(asked) + 1
    assert all(t in (IGNORED, i) for t, i in zip(written.targets, written.ids, strict=True))
    assert set(written.targets[: written.prompt // 2]) == {IGNORED}


def test_questions_leave_at_least_half_of_the_keys_out(writer):
    """So that the last answers do not follow from what was not asked yet."""
    written = text(writer, share=0.6)
    assert 1 < written.targets.count(make_tokenizer().eos_token_id) <= len(written.needles) // 2


def test_a_drill_asks_for_few_keys_again_and_again_in_both_forms(writer):
    tokenizer = make_tokenizer()
    for number in range(20):
        written = writer.drill(VARIANTS["multikey_2"], 256, 4, Stream("drill", number))
        assert 2 <= len(written.needles) <= 4
        lines = tokenizer.decode(written.ids).removeprefix(tokenizer.bos_token).split("\n")
        needles, asked = dict(written.needles), lines[len(written.needles) :]
        assert lines[: len(needles)] == [f" for {key} is: {needles[key]}." for key in needles]
        for line in asked:
            key = line.removeprefix(" for ").split(" mentioned")[0].split(" is: ")[0]
            assert line in (
                f" for {key} is: {needles[key]}.",
                f" for {key} mentioned in the provided text is {needles[key]}.<|end|>",
            )
        ended = sum(line.endswith("<|end|>") for line in asked)
        assert 0 < ended < len(asked) > len(needles)
        learnt = tokenizer.decode([i for i in written.targets if i != IGNORED])
        assert learnt.split() == [line.split()[-1] for line in asked]
        assert 200 < len(written.ids) <= 256


@pytest.mark.parametrize("length", [256, 1024, 4096])
@pytest.mark.parametrize("name", ["multikey_1", "multikey_2"])
def test_texts_fill_their_length(writer, name, length):
    assert 0.75 * length <= len(text(writer, name, length).ids) <= length


def test_batches_follow_from_seed_and_step_alone(writer):
    stage = Stage(512, 1, essays=30, uuids=20, shorter=30)

    def drawn(seed, step):
        ids, targets = batch(writer, stage, 1024, seed, step, 2)
        return ids.tolist(), targets.tolist()

    first = drawn(1, 5)
    assert drawn(1, 6) != first
    assert drawn(2, 5) != first
    assert drawn(1, 5) == first


def test_every_stage_mixes_what_it_says(writer):
    """Over many draws a stage with all kinds has all kinds and all lengths."""
    stage = Stage(512, 1, essays=30, uuids=20, shorter=40)
    decode = make_tokenizer().decode
    batches = [batch(writer, stage, 512, 0, step, 2)[0] for step in range(40)]
    assert {ids.shape[1] for ids in batches} == {128, 256, 512}
    texts = [decode(row) for ids in batches for row in ids]
    assert any("magic uuid" in line for line in texts)
    assert any("the LORD" in line or "unto" in line for line in texts)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("length", LENGTHS)
def test_no_key_of_an_evaluation_document_is_trained_on(writer, name, length):
    """Neither the asked keys nor those of the lines around; so no set of needles can be equal."""
    cell = RulerCell(VARIANTS[name], length, "kjv")
    for index in (0, 250, 499):
        document = cell.draft(index).document(min(300, len(cell.material.units) // 9))
        lines = document["input"].split(" for ")[1:-1]
        keys = {line.split(" is: ")[0] for line in lines if " is: " in line}
        assert document["query"] in keys
        assert len(keys) >= cell.definition.keys
        assert keys <= evaluation_keys()


def test_training_needles_are_apart_from_evaluation(writer):
    trained = {
        key
        for name in VARIANTS
        for number in range(20)
        for key, _ in text(writer, name, 2048, number=number).needles
    }
    assert len(trained) > 500
    assert not trained & evaluation_keys()


def test_an_evaluation_key_that_is_drawn_is_left_out(writer, monkeypatch):
    """The rule acts: with one of a text's keys held back the text is written without it."""
    written = text(writer)
    held_back = written.needles[1][0]
    monkeypatch.setattr("recipes.needle.documents.evaluation_keys", lambda: {held_back})
    again = text(writer)
    assert held_back not in dict(again.needles)
    assert written.needles[0] == again.needles[0]


def test_training_prose_is_not_the_prose_of_evaluation(writer):
    """Evaluation hides needles in the haystack's first words, training in later ones."""
    from recipes.needle.documents import HAYSTACK_START, _sentences

    words = " ".join(RulerCell(VARIANTS["multikey_1"], max(LENGTHS), "kjv").material.units)
    assert len(words.split()) < HAYSTACK_START
    long = [sentence for sentence in _sentences() if len(sentence.split()) > 25]
    assert len(long) > 5000
    assert not [sentence for sentence in long if sentence in words]
