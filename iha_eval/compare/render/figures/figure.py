"""What a figure is to the page.

For: the records that every module of figures makes and the template reads.
Not for: drawing.
"""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

#: Which key stands below a figure: the two models, or the directions of a difference.
Key = Literal["models", "none"]


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        title: What sets it apart from its neighbors; may be empty; not escaped.
        svg: The element, with its text alternative.
        narrow: The same for a phone, where the drawing is too wide for one.
    """

    title: str
    svg: Markup
    narrow: Markup | None = None


@dataclass(frozen=True)
class PanelGroup:
    """Panels that belong together and start a row.

    Attributes:
        title: What they have in common; may be empty; not escaped.
        panels: The drawings, at least one.
    """

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Figure:
    """One or more drawings under one title.

    Attributes:
        name: Identifier, unique on the page.
        title: The heading; not escaped.
        caption: How to read it; not escaped.
        groups: The drawings, at least one group.
        key: The key to its marks.
    """

    name: str
    title: str
    caption: str
    groups: tuple[PanelGroup, ...]
    key: Key = "none"


#: What the page calls the two runs, as the sentences of a report do.
ROLES = ("IHA", "Baseline")
