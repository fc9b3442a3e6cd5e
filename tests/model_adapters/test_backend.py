"""What the derived backend tells vLLM: block sizes that it supports, metadata, graphs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionMetadataBuilder,
    CommonAttentionMetadata,
    MultipleOf,
)
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.attention.backends.triton_attn import TritonAttentionBackend
from vllm.v1.kv_cache_interface import FullAttentionSpec

from model_adapters import BackendError
from model_adapters.vllm import cache_spec
from model_adapters.vllm.backend import cpu_kernel, iha_backend
from model_adapters.vllm.cache_spec import CacheShape


class FlashInfer(CPUAttentionBackend):
    """Stands in for FlashInfer's backend, whose library is not installed on a CPU machine."""

    @staticmethod
    def get_name() -> str:
        return "FLASHINFER"


class RecordingBuilder(AttentionMetadataBuilder[Any]):
    """Stands in for a base's builder: keeps what it is given."""

    max_cudagraph_size = 64
    supports_update_block_table = True

    def __init__(self, spec: Any, layers: Any, vllm_config: Any, device: Any) -> None:
        self.spec, self.vllm_config = spec, vllm_config

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        return AttentionCGSupport.ALWAYS

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> Any:
        return common_prefix_len, common_attn_metadata


class RecordingBackend(CPUAttentionBackend):
    """The CPU backend with a builder that can be looked into."""

    @staticmethod
    def get_builder_cls() -> Any:
        return RecordingBuilder


def full_spec(block: int = 128) -> FullAttentionSpec:
    return FullAttentionSpec(block_size=block, num_kv_heads=2, head_size=32, dtype=torch.bfloat16)


def test_flashinfer_is_refused_with_what_to_set() -> None:
    """It assumes one cache state per token."""
    with pytest.raises(BackendError, match=r"FLASHINFER.*attention_backend to FLASH_ATTN"):
        iha_backend(FlashInfer, CacheShape(2, None))


@pytest.mark.parametrize("base", [CPUAttentionBackend, TritonAttentionBackend])
def test_the_derived_backend_keeps_the_base_name_and_has_its_own_class_name(
    base: type[AttentionBackend],
) -> None:
    """vLLM looks the first up and groups layers by the second; the factory is cached."""
    one = iha_backend(base, CacheShape(2, None))
    other = iha_backend(base, CacheShape(2, 17))
    assert one.get_name() == base.get_name()
    assert one is iha_backend(base, CacheShape(2, None))
    assert one.full_cls_name() != other.full_cls_name()
    assert issubclass(one, base)
    assert one.forward_includes_kv_cache_update


def test_flash_attention_is_derived_where_it_can_be_imported() -> None:
    """Its Python part needs no GPU; graphs of other groups would read their own stale lengths."""
    from vllm.v1.attention.backends.flash_attn import FlashAttentionBackend

    derived = iha_backend(FlashAttentionBackend, CacheShape(4, 17))
    assert derived.get_name() == "FLASH_ATTN"
    builder = derived.get_builder_cls()
    assert issubclass(builder, FlashAttentionBackend.get_builder_cls())
    assert not builder.supports_update_block_table


@pytest.mark.parametrize(("pseudo", "unit"), [(1, 32), (2, 16), (3, 32), (4, 8), (20, 8)])
def test_supported_block_sizes_are_relaxed_by_p(pseudo: int, unit: int) -> None:
    """A multiple of 32 states is a smaller multiple in tokens."""
    derived = iha_backend(CPUAttentionBackend, CacheShape(pseudo, None))
    (size,) = derived.get_supported_kernel_block_sizes()
    assert isinstance(size, MultipleOf)
    assert size.base == unit


def test_fixed_block_sizes_are_divided_or_dropped() -> None:
    """A kernel that runs 64 or 100 states runs 16 or 25 tokens at P=4, and 100 not at P=8."""

    class Fixed(CPUAttentionBackend):
        @staticmethod
        def get_supported_kernel_block_sizes(kv_cache_spec: Any = None) -> list[Any]:
            return [64, 100]

    for pseudo, want in ((4, [16, 25]), (8, [8])):
        derived = iha_backend(Fixed, CacheShape(pseudo, None))
        assert derived.get_supported_kernel_block_sizes() == want


def builder_for(pseudo: int, window: int | None = None) -> Any:
    """A derived builder around the recording one."""
    shape = CacheShape(pseudo, window)
    return derived_builder(shape, engine_config())


def engine_config(**changes: Any) -> Any:
    scheduler = SimpleNamespace(max_num_batched_tokens=64, max_num_seqs=4)
    fields = {
        "scheduler_config": scheduler,
        "parallel_config": SimpleNamespace(use_ubatching=False),
        "speculative_config": None,
    }
    return SimpleNamespace(**fields | changes)


def derived_builder(shape: CacheShape, config: Any) -> Any:
    spec = shape.for_scheduler(full_spec(), 64)
    derived = iha_backend(RecordingBackend, shape).get_builder_cls()
    return derived(spec, ["layer"], config, torch.device("cpu"))


def batch(query_lens: list[int], seq_lens: list[int], slots: list[int]) -> CommonAttentionMetadata:
    """vLLM's metadata of a batch, in tokens."""
    starts = torch.tensor([0, *torch.tensor(query_lens).cumsum(0).tolist()], dtype=torch.int32)
    return CommonAttentionMetadata(
        query_start_loc=starts,
        query_start_loc_cpu=starts.clone(),
        seq_lens=torch.tensor(seq_lens, dtype=torch.int32),
        seq_lens_cpu_upper_bound=torch.tensor(seq_lens, dtype=torch.int32),
        num_reqs=len(query_lens),
        num_actual_tokens=sum(query_lens),
        max_query_len=max(query_lens),
        max_seq_len=max(seq_lens),
        block_table_tensor=torch.zeros(len(query_lens), 4, dtype=torch.int32),
        slot_mapping=torch.tensor(slots),
        positions=torch.arange(sum(query_lens)),
        _num_computed_tokens_cache=torch.tensor([7]),
    )


def test_the_base_is_given_everything_times_p() -> None:
    """Prefill of 2 tokens beside a decode at length 9, with padding in the slots."""
    tokens = batch([2, 1], [2, 9], [5, 6, 40, -1])
    prefix, virtual = builder_for(3).build(4, tokens)
    assert prefix == 12
    assert virtual.query_start_loc.tolist() == [0, 6, 9]
    assert virtual.query_start_loc_cpu.tolist() == [0, 6, 9]
    assert virtual.seq_lens.tolist() == [6, 27]
    assert virtual.seq_lens_cpu_upper_bound.tolist() == [6, 27]
    counts = (virtual.num_actual_tokens, virtual.max_query_len, virtual.max_seq_len)
    assert counts == (9, 6, 27)
    slots = virtual.slot_mapping.tolist()
    assert slots[:9] == [15, 16, 17, 18, 19, 20, 120, 121, 122]
    # Padding: any negative number.
    assert max(slots[9:]) < 0
    assert len(slots) == 12
    assert virtual.num_reqs == 2


def test_groups_of_one_kind_share_all_but_their_blocks() -> None:
    """The second group's metadata has its own blocks and slots, the rest is the first's."""
    first, second = builder_for(3), builder_for(3)
    _, built = first.build(0, batch([2, 1], [2, 9], [5, 6, 40]))
    metadata = SimpleNamespace(
        block_table="first", slot_mapping=built.slot_mapping, seq_lens=built.seq_lens
    )
    updated = second.update_block_table(metadata, "second", torch.tensor([1, 2, 7]))
    assert updated.block_table == "second"
    assert updated.slot_mapping.tolist() == [3, 4, 5, 6, 7, 8, 21, 22, 23]
    assert updated.seq_lens is built.seq_lens
    assert metadata.block_table == "first"
    assert metadata.slot_mapping.tolist() == [15, 16, 17, 18, 19, 20, 120, 121, 122]


@pytest.mark.parametrize(
    ("base", "shares"), [(CPUAttentionBackend, True), (TritonAttentionBackend, False)]
)
def test_metadata_is_shared_only_where_the_base_is_known_to_allow_it(
    base: type[AttentionBackend], shares: bool
) -> None:
    """Another base may derive more from the blocks than the two fields that are replaced."""
    builder = iha_backend(base, CacheShape(2, None)).get_builder_cls()
    assert builder.supports_update_block_table is shares


def test_the_batch_of_tokens_is_left_alone() -> None:
    """Other layers' builders read the same object."""
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    builder_for(2).build(0, tokens)
    assert tokens.query_start_loc.tolist() == [0, 2, 3]
    assert tokens.seq_lens.tolist() == [2, 9]
    assert tokens.slot_mapping.tolist() == [5, 6, 40]


def test_what_was_derived_in_tokens_is_not_passed_on() -> None:
    """A cached number of computed tokens would be wrong by P."""
    _, virtual = builder_for(2).build(0, batch([1], [8], [3]))
    assert virtual._num_computed_tokens_cache is None
    assert virtual.compute_num_computed_tokens().tolist() == [14]
    assert virtual.positions is None


def test_buffers_keep_their_address_between_batches() -> None:
    """A CUDA graph records addresses."""
    builder = builder_for(2)
    first = builder.build(0, batch([2, 1], [2, 9], [5, 6, 40]))[1]
    addresses = [t.data_ptr() for t in (first.seq_lens, first.query_start_loc, first.slot_mapping)]
    later = builder.build(0, batch([1], [3], [7]))[1]
    again = [t.data_ptr() for t in (later.seq_lens, later.query_start_loc, later.slot_mapping)]
    assert addresses == again
    assert later.slot_mapping.tolist() == [14, 15]


def test_a_batch_beyond_the_plan_is_an_error_and_not_a_new_address() -> None:
    """A graph would go on reading the old buffer."""
    builder = builder_for(2)
    builder.build(0, batch([1], [3], [7]))
    with pytest.raises(RuntimeError, match="65 rows of slots, but 64 were planned"):
        builder.build(0, batch([65], [65], list(range(65))))


def test_graph_sizes_count_virtual_tokens_and_uniform_batches_are_captured_whole() -> None:
    """The base compares max_cudagraph_size with its tokens, which are virtual ones.

    Speculative decoding verifies equally many tokens of every request in one graph.
    """
    builder = builder_for(4)
    assert builder.max_cudagraph_size == 256
    support = builder.get_cudagraph_support(None, None)
    assert support == AttentionCGSupport.UNIFORM_BATCH


def test_a_plain_layer_s_batch_is_handed_on_as_it_is() -> None:
    """With P = 1 there is nothing to multiply."""
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    prefix, handed = builder_for(1).build(4, tokens)
    assert handed is tokens
    assert prefix == 4


def test_groups_of_one_step_share_their_numbers() -> None:
    """Made by the first builder that asks, and anew for one that asks again."""
    config = engine_config()
    wide, narrow = (derived_builder(CacheShape(2, window), config) for window in (None, 17))
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    first = wide.build(0, tokens)[1]
    other = replace(tokens, slot_mapping=torch.tensor([1, 2, 3]))
    second = narrow.build(0, other)[1]
    assert second.seq_lens is first.seq_lens
    assert second.query_start_loc_cpu is first.query_start_loc_cpu
    assert second.slot_mapping.tolist() == [2, 3, 4, 5, 6, 7]
    assert first.slot_mapping.tolist() == [10, 11, 12, 13, 80, 81]
    # The next step, in the same tensors.
    tokens.seq_lens += 1
    assert wide.build(0, tokens)[1].seq_lens.tolist() == [6, 20]
    assert narrow.build(0, other)[1].seq_lens.tolist() == [6, 20]


@pytest.mark.parametrize("change", [{"max_query_len": 3}, {"seq_lens": torch.tensor([4, 9])}])
def test_a_builder_that_missed_a_step_gets_no_older_numbers(change: dict[str, Any]) -> None:
    config = engine_config()
    wide, narrow = (derived_builder(CacheShape(2, window), config) for window in (None, 17))
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    wide.build(0, tokens)
    later = replace(tokens, **change)
    got = narrow.build(0, later)[1]
    assert got.seq_lens.tolist() == (later.seq_lens * 2).tolist()
    assert got.max_query_len == 2 * later.max_query_len


def test_halves_of_a_batch_that_run_at_once_share_nothing() -> None:
    config = engine_config(parallel_config=SimpleNamespace(use_ubatching=True))
    builders = [derived_builder(CacheShape(2, None), config) for _ in range(2)]
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    first, second = (builder.build(0, tokens)[1] for builder in builders)
    assert first.seq_lens is not second.seq_lens


def test_few_operations_a_step() -> None:
    """One for a group's slots; lengths, starts and the host copies once for all."""
    config = engine_config()
    builders = [derived_builder(CacheShape(2, window), config) for window in (None, 17, 33)]
    tokens = batch([2, 1], [2, 9], [5, 6, 40])
    for builder in builders:
        builder.build(0, tokens)
    counts = []
    for builder in builders:
        with Operations() as seen:
            builder.build(0, tokens)
        counts.append(len(seen.names))
    assert counts == [5, 1, 1]
    plain = builder_for(1)
    with Operations() as seen:
        plain.build(0, tokens)
    assert seen.names == []


class Operations(TorchDispatchMode):
    """Notes operations that compute; views cost next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        name = str(function)
        if not any(view in name for view in ("view", "slice", "unsqueeze", "alias")):
            self.names.append(name)
        return function(*arguments, **(keywords or {}))


def test_releases_without_tokens_per_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """There P times the key heads stand in the specification and the cache is stretched back."""
    monkeypatch.setattr(cache_spec, "HAS_TOKENS_PER_STATE", False)
    shape = CacheShape(3, None)
    spec = shape.for_scheduler(full_spec(), 64)
    assert (spec.num_kv_heads, spec.block_size) == (6, 64)
    assert spec.tokens_per_state == 1
    assert shape.for_kernel(spec).num_kv_heads == 2

    class Old(CPUAttentionBackend):
        @staticmethod
        def get_kv_cache_shape(blocks: int, block: int, heads: int, size: int, dtype: str) -> Any:
            return (blocks, heads, block, 2 * size)

    derived: Any = iha_backend(Old, shape)
    assert derived.get_kv_cache_shape(10, 64, 6, 32, "auto") == (10, 2, 192, 64)


@pytest.mark.parametrize(
    ("asked", "works", "taken"),
    [
        (None, ("FLASH_ATTN", "TRITON_ATTN"), "FLASH_ATTN"),
        (None, ("TRITON_ATTN",), "TRITON_ATTN"),
        (None, (), "FLASHINFER"),
        ("FLASHINFER", ("FLASH_ATTN",), "FLASHINFER"),
    ],
    ids=str,
)
def test_where_vllm_s_choice_cannot_serve_iha_another_is_taken(
    asked: str | None,
    works: tuple[str, ...],
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As on Blackwell, where FLASHINFER comes first; who asks for it is told what to set."""
    from model_adapters.vllm import model

    options = SimpleNamespace(backend=asked)

    def chosen(*_: Any) -> Any:
        name = getattr(options.backend, "name", options.backend) or "FLASHINFER"
        if name != "FLASHINFER" and name not in works:
            raise ValueError(f"{name} is not valid for this configuration")
        return SimpleNamespace(get_name=lambda: name)

    config = SimpleNamespace(attention_config=options)
    monkeypatch.setattr(model, "get_current_vllm_config", lambda: config)
    monkeypatch.setattr(model, "get_attn_backend", chosen)
    assert model.base_backend(64, torch.bfloat16, "auto").get_name() == taken
    wanted = f"vLLM would choose FLASHINFER, which cannot serve IHA: {taken} is used"
    assert caplog.messages == ([wanted] if taken != "FLASHINFER" else [])
    if taken == "FLASHINFER":
        assert options.backend == asked


@pytest.mark.parametrize(
    ("chosen", "pseudo", "dtype", "wanted"),
    [
        ("vec", 2, torch.bfloat16, "vec16"),
        ("vec", 1, torch.bfloat16, "vec"),
        ("vec", 2, torch.float32, "vec"),
        ("vec", 2, torch.uint8, "vec"),
        ("amx", 2, torch.bfloat16, "amx"),
    ],
)
def test_iha_layers_in_bfloat16_get_the_kernel_of_sixteen_rows(
    chosen: str, pseudo: int, dtype: torch.dtype, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    assert cpu_kernel(chosen, pseudo, dtype) == wanted
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    assert cpu_kernel(chosen, pseudo, dtype) == chosen
