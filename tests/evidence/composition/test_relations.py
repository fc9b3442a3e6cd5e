"""Random relations: sizes, densities, compositions, batches."""

import itertools

import pytest
import torch

from iha_eval.evidence.composition import relations

BINARY, TERNARY = relations.TASKS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("order", [2, 3])
def test_composition_is_the_existence_of_a_path(order: int) -> None:
    relation = torch.rand(20, 4, 4, generator=generator()) < 0.3
    found = relations.compose(relation, order)
    for number, i, j in itertools.product(range(20), range(4), range(4)):
        paths = itertools.product(range(4), repeat=order - 1)
        wanted = any(
            all(relation[number, a, b] for a, b in itertools.pairwise((i, *middle, j)))
            for middle in paths
        )
        assert bool(found[number, i, j]) is wanted


@pytest.mark.parametrize("task", relations.TASKS, ids=lambda task: task.name)
def test_sizes_and_density_are_those_of_the_paper(task: relations.RelationTask) -> None:
    drawn = relations.draw(task, 2000, generator())
    assert drawn.count == 2000
    assert tuple(drawn.relations) == task.sizes
    counts = [len(some) for some in drawn.relations.values()]
    assert min(counts) > 0.8 * 2000 / len(task.sizes)
    entries = torch.cat([some.flatten() for some in drawn.relations.values()])
    assert float(entries.float().mean()) == pytest.approx(task.density, abs=0.005)
    for m, some in drawn.relations.items():
        assert torch.equal(drawn.composed[m], relations.compose(some, task.order))


def test_neither_task_is_mostly_one_answer() -> None:
    """The densities were chosen for that."""
    for task in relations.TASKS:
        assert 0.5 < relations.draw(task, 2000, generator()).share < 0.7


def test_batches_hold_every_example_once_and_one_size_each() -> None:
    drawn = relations.draw(TERNARY, 100, generator())
    batches = list(drawn.batches(16, generator(5)))
    assert sum(len(relation) for relation, _ in batches) == 100
    assert max(len(relation) for relation, _ in batches) == 16
    seen = sorted(str(one.int().tolist()) for relation, _ in batches for one in relation)
    kept = sorted(str(one.int().tolist()) for some in drawn.relations.values() for one in some)
    assert seen == kept
    for relation, composed in batches:
        assert torch.equal(composed, relations.compose(relation, 3))


def test_the_order_is_that_of_the_generator() -> None:
    drawn = relations.draw(BINARY, 100, generator())

    def sizes(order: torch.Generator | None) -> list[int]:
        return [relation.shape[1] for relation, _ in drawn.batches(4, order)]

    assert sizes(None) == sorted(sizes(None))
    assert sizes(generator(1)) == sizes(generator(1)) != sizes(generator(2))


def test_few_examples_may_leave_a_size_out() -> None:
    drawn = relations.draw(BINARY, 1, generator())
    assert (drawn.count, len(drawn.relations)) == (1, 1)
