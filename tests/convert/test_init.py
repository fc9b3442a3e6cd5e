"""What alpha and collapse start as."""

import pytest
import torch
from plain_models import plain_config

from model_adapters import IHAConfig
from model_adapters.convert import ConversionError, to_iha

CONFIG = IHAConfig(**plain_config().to_dict() | {"num_pseudo_heads": 3})


def made(kind: str, layer: int = 0, **changes: float) -> dict[str, torch.Tensor]:
    options = {"noise": 0.0, "seed": 5} | changes
    return to_iha.layer_tensors(CONFIG, layer, kind, dtype=torch.float32, **options)


@pytest.mark.parametrize("kind", ["exact", "noisy", "paper"])
def test_alphas_are_identities_and_shapes_the_formats(kind: str) -> None:
    tensors = made(kind)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {
        "alpha_q": (4, 4, 3),
        "alpha_k": (2, 2, 3),
        "alpha_v": (2, 2, 3),
        "collapse": (4, 12),
    }
    for name in ("alpha_q", "alpha_k", "alpha_v"):
        for pseudo in range(3):
            assert torch.equal(tensors[name][..., pseudo], torch.eye(len(tensors[name])))


@pytest.mark.parametrize(
    ("kind", "row"),
    [("exact", [0, 0, 1.0]), ("noisy", [0, 0, 1.0]), ("paper", [1 / 3] * 3)],
    ids=["exact: last", "noisy: last", "paper: mean"],
)
def test_the_collapse_takes_the_last_pseudo_head_or_their_mean(kind: str, row: list[float]) -> None:
    wanted = torch.zeros(4, 12)
    for head in range(4):
        wanted[head, 3 * head : 3 * head + 3] = torch.tensor(row)
    assert torch.equal(made(kind)["collapse"], wanted)


def test_noise_has_its_size_and_depends_on_seed_layer_and_tensor() -> None:
    def noise(**options: float) -> torch.Tensor:
        options = {"noise": 0.5, "seed": 1} | options
        tensors, start = made("noisy", **options), made("noisy")
        return torch.cat([(tensors[name] - start[name]).flatten() for name in tensors])

    assert torch.equal(noise(), noise())
    assert not torch.equal(noise(), noise(seed=2))
    assert not torch.equal(noise(), noise(layer=1))
    assert 0.35 < noise().std().item() < 0.65
    keys, values = noise()[48:60], noise()[60:72]
    assert not torch.equal(keys, values)


@pytest.mark.parametrize(
    ("kind", "noise", "seed", "meant"),
    [
        ("exact", None, None, (0, 0)),
        ("exact", 0.0, None, (0, 0)),
        ("paper", None, None, (0, 0)),
        ("paper", 0.1, 7, (0.1, 7)),
        ("noisy", None, 0, (0.02, 0)),
        ("noisy", 0.3, 10**20, (0.3, 10**20)),
    ],
)
def test_the_noise_and_the_seed_that_are_meant(
    kind: str, noise: float | None, seed: int | None, meant: tuple[float, int]
) -> None:
    assert to_iha.check_init(kind, noise, seed) == meant


@pytest.mark.parametrize(
    ("kind", "noise", "words"),
    [
        ("random", None, "'random': use one of exact, paper, noisy"),
        ("exact", 0.1, "0.1, but init 'exact' has none"),
        ("noisy", -1.0, "-1: give a standard deviation"),
        ("noisy", float("nan"), "nan: give a standard deviation"),
        ("noisy", 1e9, "1e\\+09: give a standard deviation"),
    ],
    ids=["unknown", "exact with noise", "negative", "nan", "huge"],
)
def test_starts_that_cannot_be_meant(kind: str, noise: float | None, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        to_iha.check_init(kind, noise)


@pytest.mark.parametrize(
    ("kind", "noise", "seed", "words"),
    [
        ("noisy", None, -1, "seed is -1: give a whole number of 0 or more"),
        ("exact", None, 7, "seed is 7, but init 'exact' without noise draws nothing: leave it out"),
        ("paper", None, 0, "seed is 0, but init 'paper' without noise"),
    ],
    ids=["negative", "exact", "paper without noise"],
)
def test_seeds_that_cannot_be_meant(kind: str, noise: float | None, seed: int, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        to_iha.check_init(kind, noise, seed)
