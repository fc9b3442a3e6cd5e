"""From a matplotlib figure to an SVG element for a page.

For: `canvas`, on which a panel is drawn, and `inline`, which writes it: the same bytes for the same
drawing, text as text, colors as CSS variables, no identifier shared with another panel.
Not for: what is drawn.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing

from iha_eval.compare.render.figures import theme

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_STAND_IN = re.compile("|".join(theme.VARIABLES))
_FONT = re.compile(r"font-family:[^;]*;?\s*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_ZERO_TURN = re.compile(r"rotate\(-?0(\.0)?[ )]")


class Canvas:
    """A drawing under way and, once its block is left, its SVG.

    Attributes:
        drawing: Matplotlib's figure.
        axes: Its only axes.
        svg: The element, with its text alternative; empty before the block is left.
    """

    def __init__(self, width: float, height: float) -> None:
        # 72 points an inch: a point is one unit of the SVG, shown as one CSS pixel.
        self.drawing = Drawing(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        FigureCanvasSVG(self.drawing)
        engine = self.drawing.get_layout_engine()
        assert engine is not None
        engine.set(w_pad=0.02, h_pad=0.03)  # type: ignore[call-arg]
        self.axes: Axes = self.drawing.add_subplot()
        self.svg = Markup()


@contextmanager
def canvas(
    name: str, alt: str, width: float = theme.WIDTH, height: float = theme.HEIGHT
) -> Iterator[Canvas]:
    """A block in which a panel is drawn.

    Args:
        name: Identifier of the panel, unique on the page, of letters, digits and hyphens.
        alt: What the panel shows, in words; need not be escaped.
        width: In CSS pixels.
        height: In CSS pixels.

    Yields:
        The canvas, whose `svg` is set when the block is left.
    """
    # A font without a glyph only measures the text a little wrong: the browser draws it.
    with theme.settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        made = Canvas(width, height)
        yield made
        made.svg = inline(made.drawing, name, alt)


def inline(drawing: Drawing, name: str, alt: str) -> Markup:
    """The SVG element of a drawing."""
    written = io.StringIO()
    # Not savefig, which draws twice, the first time for the layout alone; drawing lays out, too.
    FigureCanvasSVG(drawing).print_svg(written, metadata=_NO_METADATA)  # type: ignore[no-untyped-call]
    # Our own output of a moment ago, without entities beyond the five.
    root = ElementTree.fromstring(written.getvalue())
    wanted = _references(root)
    _rewrite(root, name, wanted)
    width, height = (root.attrib.pop(side).removesuffix("pt") for side in ("width", "height"))
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": alt,
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _references(root: ElementTree.Element) -> set[str]:
    """The identifiers that something refers to; matplotlib writes many more."""
    names = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key.endswith("href") and value.startswith("#"):
                names.add(value[1:])
            names.update(_REFERENCE.findall(value))
    return names


def _rewrite(element: ElementTree.Element, name: str, wanted: set[str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = dict(_attributes(element, name, wanted))
    element.text = (element.text or "").strip() if element.tag == "text" else None
    element.tail = None
    for child in list(element):
        # The style sheet would apply to the whole page.
        if child.tag.endswith(("}style", "}metadata")):
            element.remove(child)
        else:
            _rewrite(child, name, wanted)


def _attributes(
    element: ElementTree.Element, name: str, wanted: set[str]
) -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key == "id":
            if value in wanted:
                yield key, f"{name}-{value}"
        elif key == "href":
            # A name of our own, or the data of an image, in lines.
            yield key, f"#{name}-{value[1:]}" if value[0] == "#" else "".join(value.split())
        elif key == "style":
            yield key, _STAND_IN.sub(_variable, _FONT.sub("", value)).rstrip("; ")
        elif key == "d":
            yield key, " ".join(value.split())
        elif not (key == "transform" and _ZERO_TURN.match(value)):
            yield key, _REFERENCE.sub(rf"url(#{name}-\1)", value)


def _variable(match: re.Match[str]) -> str:
    return f"var({theme.VARIABLES[match[0]]})"
