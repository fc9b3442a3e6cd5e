import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import DEFAULT_BUDGET
from iha_eval.models.arguments import INSTEAD, NO_OPS, parse, refuse_unknown


def test_nothing_given_means_all_at_once_in_the_checkpoints_own_type() -> None:
    found = parse({})
    assert (found.pretrained, found.dtype, found.concurrency) == (None, "auto", None)
    assert (found.max_model_len, found.max_gen_toks) == (None, DEFAULT_BUDGET)
    assert (found.seed, found.engine) == (0, {})


@pytest.mark.parametrize(
    ("batch_size", "most", "expected"),
    [
        (None, None, None),
        # What lm-eval passes where the user said nothing.
        (1, None, None),
        ("1", None, None),
        ("auto", None, None),
        ("auto:4", None, None),
        ("auto", 8, 8),
        (1, 8, 8),
        (16, None, 16),
        ("16", 4, 4),
    ],
)
def test_batch_size_bounds_what_runs_at_once_only_above_one(
    batch_size: object, most: object, expected: int | None
) -> None:
    assert parse({"batch_size": batch_size, "max_batch_size": most}).concurrency == expected


def test_other_names_go_to_the_engine() -> None:
    assert parse({"pretrained": "x", "block_size": 32}).engine == {"block_size": 32}


def test_max_length_is_another_name_for_max_model_len() -> None:
    assert parse({"max_length": 64}).max_model_len == 64


def test_what_was_set_to_none_was_not_set() -> None:
    assert parse({"device": None, "block_size": None, "max_gen_toks": None}) == parse({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_model_len": "long"}, "max_model_len='long' is not a whole number of at least 1."),
        ({"max_model_len": 0}, "max_model_len=0 is not a whole number of at least 1."),
        ({"max_model_len": 1.5}, "max_model_len=1.5 is not a whole number of at least 1."),
        ({"max_gen_toks": True}, "max_gen_toks=True is not a whole number of at least 1."),
        ({"max_gen_toks": float("inf")}, "max_gen_toks=inf is not a whole number of at least 1."),
        ({"seed": -1}, "seed=-1 is not a whole number of at least 0."),
        ({"batch_size": "many"}, "batch_size='many' is neither"),
        ({"batch_size": 0}, "batch_size=0 is neither"),
        ({"dtype": "int8"}, "dtype='int8' is not one of auto, float32, bfloat16, float16."),
        ({"add_bos_token": "yes"}, "add_bos_token='yes' is neither True nor False."),
        ({"pretrained": [1]}, r"pretrained=\[1\] is not a name or a path."),
        ({"chat_template_args": "x"}, "chat_template_args='x' is not a mapping"),
        ({"enable_thinking": True}, "enable_thinking=True needs think_end_token="),
        ({"enable_thinking": "no"}, "enable_thinking='no' is neither True nor False"),
        ({"think_end_token": [1]}, r"think_end_token=\[1\] is neither a text"),
        ({"non_finite_logits": "ignore"}, "non_finite_logits='ignore' is neither stop nor count"),
        ({"dtype": "int8"}, "dtype='int8' is not one of auto, float32"),
        (
            {"max_length": 8, "max_model_len": 9},
            "max_model_len and max_length mean the same \\(9 and 8\\)",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(given)


KNOWN = ("attn_implementation",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("colour", "iha-hf has no argument colour: those of both classes are add_bos_token, "),
        ("attn_implmentation", r"did you mean attn_implementation"),
        ("batchsize", "did you mean .*batch_size"),
        *((name, rf"iha-hf has no argument {name}: .*\.$") for name in INSTEAD),
    ],
)
def test_unknown_names_are_refused_with_what_to_write_instead(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        refuse_unknown("iha-hf", {name: 1, "attn_implementation": 2}, KNOWN)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"torch_dtype": "bf16"}, "dtype", "bfloat16"),
        ({"dtype": "half"}, "dtype", "float16"),
        ({"dtype": "torch.float32"}, "dtype", "float32"),
        ({"max_length": 512}, "max_model_len", 512),
        ({"custom_prefix_token_id": 3}, "prefix_token_id", 3),
        ({"enable_thinking": False}, "chat_template_args", {"enable_thinking": False}),
        (
            {"chat_template_args": '{"enable_thinking": true}'},
            "chat_template_args",
            {"enable_thinking": True},
        ),
        ({"think_end_token": "</think>"}, "think_end_token", "</think>"),
        ({"think_end_token": "151668"}, "think_end_token", 151668),
        ({"non_finite_logits": "count"}, "non_finite_logits", "count"),
        *(({name: values[0]}, "engine", {}) for name, values in NO_OPS.items()),
    ],
    ids=str,
)
def test_arguments_of_lm_evals_own_classes_are_taken(
    given: dict[str, object], field: str, value: object
) -> None:
    assert getattr(parse(given), field) == value
