"""The pages of the made-up reports and their figures, each made once however many tests look.

For: tests that read pages. Not for: tests of rendering itself, which must render.
"""

from functools import cache
from unittest.mock import patch

import report_dicts

from iha_eval.compare.render import page
from iha_eval.compare.render.figures import Figure, draw_all

MAKERS = {"full": report_dicts.full, "bare": report_dicts.bare, "hostile": report_dicts.hostile}


@cache
def figures_of(name: str) -> tuple[Figure, ...]:
    """The figures of one of the `MAKERS`."""
    return tuple(draw_all(MAKERS[name]()))


@cache
def page_of(name: str) -> str:
    """The page of one of the `MAKERS`."""
    with patch.object(page, "draw_all", return_value=figures_of(name)):
        return page.render(MAKERS[name]())
