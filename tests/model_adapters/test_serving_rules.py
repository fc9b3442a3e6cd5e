"""What cannot serve IHA is refused with what would."""

import re

import pytest

from model_adapters import BackendError
from model_adapters.vllm.serving_rules import check_backend, check_engine, check_parallelism


@pytest.mark.parametrize("name", ["CPU_ATTN", "FLASH_ATTN", "TRITON_ATTN"])
def test_supported_backends_pass(name: str) -> None:
    check_backend(name)


@pytest.mark.parametrize("name", ["FLASHINFER", "FLEX_ATTENTION"])
def test_other_backends_are_refused_with_what_to_set(name: str) -> None:
    with pytest.raises(BackendError, match=f"{name} assumes .* attention_backend to FLASH_ATTN"):
        check_backend(name)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "ranks", "good"),
    [(4, 2, 3, "1, 2, 4"), (12, 6, 4, "1, 2, 3, 6, 12"), (20, 20, 8, "1, 2, 4, 5, 10, 20")],
)
def test_uneven_ranks_are_refused_with_those_that_work(
    heads: int, kv_heads: int, ranks: int, good: str
) -> None:
    want = re.escape(f"tensor_parallel_size is {ranks}, over which {heads} heads")
    with pytest.raises(BackendError, match=rf"{want}.* use one of {good}\."):
        check_parallelism(heads, kv_heads, tensor=ranks)
    for count in map(int, good.split(", ")):
        check_parallelism(heads, kv_heads, tensor=count)


def test_pipeline_and_decode_context_parallelism_are_refused() -> None:
    with pytest.raises(BackendError, match=r"pipeline_parallel_size is 2.*tensor_parallel_size"):
        check_parallelism(4, 2, pipeline=2)
    with pytest.raises(BackendError, match=r"decode_context_parallel_size is 2.*set it to 1"):
        check_parallelism(4, 2, decode_context=2)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"attention_backend": "flashinfer"}, "FLASHINFER"),
        ({"tensor_parallel_size": "3"}, "tensor_parallel_size is 3"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size is 2"),
        ({"decode_context_parallel_size": 2}, "decode_context_parallel_size is 2"),
    ],
    ids=["backend", "tensor", "pipeline", "decode context"],
)
def test_engine_arguments_are_refused_by_the_same_rules(
    engine: dict[str, object], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        check_engine(4, 2, engine)


def test_engine_arguments_that_do_pass() -> None:
    check_engine(4, 2, {"tensor_parallel_size": 4, "pipeline_parallel_size": None, "other": "x"})
