"""Random relations and their compositions with themselves (App. D).

For: the data of both tasks, drawn anew from a seed. Not for: models.

The paper fixes sizes, densities and numbers of examples. Choices: every size is equally likely, and
entries of R are independent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class RelationTask:
    """What is to be predicted.

    Attributes:
        name: As on the command line.
        order: How many times R is composed: 2 for (R o R), 3 for (R o R o R).
        sizes: The values of m.
        density: Probability that an entry of R is 1.
    """

    name: str
    order: int
    sizes: tuple[int, ...]
    density: float


TASKS = (
    RelationTask("binary", 2, (6, 7, 8, 9, 10), 0.325),
    RelationTask("ternary", 3, (5, 6, 7, 8), 0.264),
)
#: The same on matrices that take no time.
QUICK_TASKS = tuple(replace(task, sizes=(2, 3)) for task in TASKS)


@dataclass(frozen=True)
class Examples:
    """Relations and their compositions by size: m -> boolean [n, m, m] each."""

    relations: dict[int, Tensor]
    composed: dict[int, Tensor]

    @property
    def count(self) -> int:
        """How many relations there are."""
        return sum(map(len, self.relations.values()))

    @property
    def share(self) -> float:
        """How often the better constant guess is right about an entry of the compositions."""
        ones = sum(int(grid.sum()) for grid in self.composed.values())
        share = ones / sum(grid.numel() for grid in self.composed.values())
        return max(share, 1 - share)

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in batches of one m each, in random order if there is a generator.

        Args:
            size: Examples a batch, fewer in the last one of an m.
            generator: Of the order.

        Yields:
            Relations and compositions, boolean [b, m, m].
        """
        chosen: list[tuple[int, Tensor]] = []
        for m, relations in self.relations.items():
            order = torch.arange(len(relations))
            if generator is not None:
                order = torch.randperm(len(relations), generator=generator)
            chosen += ((m, part) for part in order.split(size))
        turns = torch.arange(len(chosen))
        if generator is not None:
            turns = torch.randperm(len(chosen), generator=generator)
        for turn in turns.tolist():
            m, part = chosen[turn]
            yield self.relations[m][part], self.composed[m][part]


def draw(task: RelationTask, count: int, generator: torch.Generator) -> Examples:
    """So many random relations.

    Args:
        task: Sizes, density and order.
        count: Examples of all sizes together.
        generator: Advances; draw the splits one after the other.
    """
    sizes = torch.tensor(task.sizes)[torch.randint(len(task.sizes), (count,), generator=generator)]
    relations, composed = {}, {}
    for m in task.sizes:
        number = int((sizes == m).sum())
        if number:
            relations[m] = torch.rand(number, m, m, generator=generator) < task.density
            composed[m] = compose(relations[m], task.order)
    return Examples(relations, composed)


def compose(relation: Tensor, order: int) -> Tensor:
    """R o R o ..: boolean [.., m, m], 1 where `order` steps of R lead from i to j."""
    steps = relation.float()
    reached = steps
    for _ in range(order - 1):
        reached = (reached @ steps > 0).float()
    return reached > 0
