"""The network around the attention that is compared: one layer, the same for all.

For: `build`. Not for: training.

Choices: a token is an entry (i, j) of the matrix, the sum of learned embeddings of its row, its
column and its value; the layer is a pre-norm block, attention and then a feed-forward network of
four times the width with GELU; a linear map of the normalized output gives the logit of the entry
at the same place.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from iha_eval.evidence.composition.mixers import Interleaved, MultiHead, Simplicial

#: The paper's numbers of heads and of pseudo-heads.
HEADS, PSEUDO_HEADS = 8, 8

#: Name -> attention layer of a width.
MODELS: dict[str, Callable[[int], nn.Module]] = {
    "MHA": lambda hidden: MultiHead(hidden, HEADS),
    "simplicial": lambda hidden: Simplicial(hidden, HEADS),
    "IHA": lambda hidden: Interleaved(hidden, HEADS, PSEUDO_HEADS),
}


class OneLayer(nn.Module):
    """From a relation to the logits of its composition.

    Args:
        attention: Maps tokens [B, N, D] to [B, N, D].
        hidden: D.
        largest: The largest m.
    """

    def __init__(self, attention: nn.Module, hidden: int, largest: int) -> None:
        super().__init__()
        self.value = nn.Embedding(2, hidden)
        self.row, self.column = nn.Embedding(largest, hidden), nn.Embedding(largest, hidden)
        self.attention_norm, self.attention = nn.LayerNorm(hidden), attention
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, 4 * hidden),
            nn.GELU(),
            nn.Linear(4 * hidden, hidden),
        )
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, 1))

    def forward(self, relations: Tensor) -> Tensor:
        """Logits [B, m, m] of boolean relations [B, m, m]."""
        m = relations.shape[1]
        places = torch.arange(m, device=relations.device)
        grid = self.row(places)[:, None] + self.column(places)
        tokens = (self.value(relations.long()) + grid).flatten(1, 2)
        tokens = tokens + self.attention(self.attention_norm(tokens))
        tokens = tokens + self.feed_forward(tokens)
        return self.head(tokens).view(relations.shape)  # type: ignore[no-any-return]


def build(model: str, hidden: int, largest: int, seed: int) -> OneLayer:
    """A network with weights that depend on the arguments alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OneLayer(MODELS[model](hidden), hidden, largest)


def parameters(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(tensor.numel() for tensor in module.parameters())
