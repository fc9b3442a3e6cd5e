"""Alpha and collapse from any order of axes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.convert import ConversionError
from model_adapters.convert.foreign_tensors import parse_axes, rearrange


@given(
    order=st.permutations("mhp"),
    cut=st.sampled_from([(), (1,), (2,), "all"]),
    heads=st.integers(1, 3),
    pseudo_heads=st.integers(1, 4),
    name=st.sampled_from(["alpha_q", "collapse"]),
)
def test_every_order_comes_back(
    order: list[str], cut: tuple[int, ...] | str, heads: int, pseudo_heads: int, name: str
) -> None:
    """Element by element, for each order and each way of putting two or three axes into one."""
    ours = torch.arange(heads * heads * pseudo_heads).reshape(heads, heads, pseudo_heads)
    letters = "".join(order)
    groups = {
        (): list(letters),
        (1,): [letters[:1], letters[1:]],
        (2,): [letters[:2], letters[2:]],
        "all": [letters],
    }[cut]
    text = "".join(group if len(group) == 1 else f"({group})" for group in groups)
    sizes = {"m": heads, "h": heads, "p": pseudo_heads}
    kept = torch.empty([sizes[letter] for letter in letters], dtype=ours.dtype)
    for m in range(heads):
        for h in range(heads):
            for p in range(pseudo_heads):
                at = {"m": m, "h": h, "p": p}
                kept[tuple(at[letter] for letter in letters)] = ours[m, h, p]
    grouped = kept.reshape([torch.Size(sizes[x] for x in group).numel() for group in groups])
    made = rearrange(grouped, parse_axes(text), name, heads, pseudo_heads)
    wanted = ours.transpose(0, 1).flatten(1) if name == "collapse" else ours
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("text", ["hp", "ph", "(hp)"])
@pytest.mark.parametrize("name", ["alpha_k", "collapse"])
def test_without_a_source_head_each_head_reads_itself(text: str, name: str) -> None:
    kept = torch.arange(1, 7).reshape(3, 2)
    given = {"hp": kept, "ph": kept.T, "(hp)": kept.flatten()}[text]
    made = rearrange(given, parse_axes(text), name, 3, 2)
    for head in range(3):
        for pseudo in range(2):
            if name == "collapse":
                assert made[head, 2 * head + pseudo] == kept[head, pseudo]
            else:
                assert made[head, head, pseudo] == kept[head, pseudo]
    assert (made != 0).sum() == 6


@pytest.mark.parametrize("text", ["", "mp", "mhpp", "hpx", "(h)p", "h(mp", "h mp", "(mhp)p"])
def test_texts_that_are_no_order(text: str) -> None:
    with pytest.raises(ConversionError, match="is no order of axes: use m"):
        parse_axes(text)


def test_a_shape_that_does_not_go_with_the_letters() -> None:
    with pytest.raises(ConversionError, match=r"\[3, 3, 2\], but axes 'hpm' .* \[3, 2, 3\]"):
        rearrange(torch.ones(3, 3, 2), parse_axes("hpm"), "alpha_q", 3, 2)
