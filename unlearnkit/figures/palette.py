"""The colours of all figures, and the symbols and dashes that tell many lines apart."""

from dataclasses import dataclass

# The colour-blind-safe palette of Okabe and Ito (2008), without its yellow, which is too light on
# white; the greys suit light and dark pages.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION = "#56B4E9", "#D55E00"
GREY, FAINT = "#8a8a8a", "rgba(128,128,128,0.24)"
DIVERGING = [[0, BLUE], [0.5, "#d9d9d9"], [1, VERMILLION]]  # grey at 0
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY)
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "hourglass")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class Style:
    """How one of many groups is drawn; no two groups have the same colour and symbol.

    Attributes:
        color: colour of its points and lines.
        symbol: symbol of its points.
        dash: dash of its lines.
    """

    color: str
    symbol: str
    dash: str


def styles(count: int) -> list[Style]:
    """Return distinct styles for this number of groups.

    The symbols and dashes go round at other periods than the colours, so that groups differ even
    where colours cannot be told apart.

    >>> len({(style.color, style.symbol) for style in styles(49)})
    49
    >>> styles(8)[0], styles(8)[7]
    (Style(color='#0072B2', symbol='circle', dash='solid'), \
Style(color='#0072B2', symbol='diamond', dash='dot'))
    """
    colors = len(PALETTE)
    return [
        Style(
            PALETTE[i % colors],
            SYMBOLS[(i + i // colors) % len(SYMBOLS)],
            DASHES[i % len(DASHES)],
        )
        for i in range(count)
    ]
