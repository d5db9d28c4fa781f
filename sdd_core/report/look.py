"""How figures look; nothing here needs matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from sdd_core.errors import SddError

Legend = Literal[
    "best", "upper-left", "upper-right", "lower-left", "lower-right", "right", "below", "none"
]
"""Where a legend stands: in the panel, right of it, below it, or nowhere."""

STYLE: dict[Any, Any] = {
    # No timestamps and no random identifiers: the same numbers give the same file.
    "svg.hashsalt": "sdd",
    # Text that can be searched and edited, and no Type 3 fonts, which conferences refuse.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    # Names are shown as what they are: a dollar sign begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}

# Colour, dashes and marker of each line. The colours are Okabe and Ito's, which people see apart
# who do not see all colours, without yellow; in print without colour the others tell.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "X", "P")


@dataclass(frozen=True)
class Look:
    """The look of a figure.

    width: in inches; None: what suits the figure. font_size: in points. legend: where it stands.
    Raises SddError: an impossible value.
    """

    width: float | None = None
    font_size: float = 10.0
    legend: str = "best"

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= 50:
            raise SddError(f"width {self.width}: expected inches, from 1 to 50")
        if not 3 <= self.font_size <= 50:
            raise SddError(f"font size {self.font_size}: expected points, from 3 to 50")
        if self.legend not in get_args(Legend):
            raise SddError(f"legend {self.legend!r}: expected one of {', '.join(get_args(Legend))}")

    @property
    def style(self) -> dict[Any, Any]:
        """matplotlib's settings."""
        return {
            **STYLE,
            "font.size": self.font_size,
            "axes.titlesize": self.size(1.1),
            "legend.fontsize": self.size(0.8),
        }

    def size(self, share: float) -> float:
        """A size of text relative to the others, in points."""
        return share * self.font_size

    def shape(self, width: float, panels: float) -> tuple[float, float]:
        """Width and height in inches of a figure, `width` wide if nothing else is asked for, with
        so many panels below one another: text takes its room, panels keep their proportions."""
        wide = self.width or width
        return wide, 0.4 * wide * panels + 0.09 * self.font_size


    def characters(self, width: float) -> float:
        """How many characters fit below a panel of a figure that is `width` wide if nothing else
        is asked for; a legend at its right takes half of the room."""
        panel = (self.width or width) * (0.45 if self.legend == "right" else 0.9)
        return max(14.0, panel * 72 / (0.55 * self.font_size))


def line_style(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of a figure's line; no two of the first 49 lines are alike, and of
    seven neighbours no two have the same dashes or markers."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[(number + turn) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }
