"""Figure of a stream of requests: debt and cost over time."""

from typing import TYPE_CHECKING

from unlearnkit.display import plural
from unlearnkit.figures.drawing import BLUE, GREY, ORANGE, PURPLE, Drawing, Spec, axis, layout

if TYPE_CHECKING:
    import pandas as pd


@Drawing
def stream_debt(frame: "pd.DataFrame") -> Spec:
    """Debt and cost over a stream of requests.

    Args:
        frame: table that :func:`~unlearnkit.studies.stream.stream` returned.
    """
    x = frame["round"].tolist()
    costs = {
        "always exact": (frame["exact_cpu_seconds"].cumsum(), GREY),
        "by the boundary": (frame["cpu_seconds"].cumsum(), ORANGE),
    }
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": sums.tolist(),
            "line": {"color": color, "width": 2},
            "hovertemplate": f"{name}, request %{{x}}: %{{y:.3g}} s so far<extra></extra>",
        }
        for name, (sums, color) in costs.items()
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "debt",
            "x": x,
            "y": frame["debt"].tolist(),
            "yaxis": "y2",
            "fill": "tozeroy",
            "line": {"color": PURPLE, "width": 1.5, "shape": "hv"},
            "hovertemplate": "after request %{x}: %{y} ids owed<extra></extra>",
        }
    )
    retrained = frame[frame["exact_operations"] > 0]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "shards retrained exactly",
            "x": retrained["round"].tolist(),
            "y": retrained["debt"].tolist(),
            "yaxis": "y2",
            "text": retrained["exact_operations"].tolist(),
            "marker": {"color": BLUE, "size": 8},
            "hovertemplate": "request %{x}: %{text} shards retrained<extra></extra>",
        }
    )
    last = float(frame["speed"].iloc[-1])
    each = f" of {plural(int(frame['groups'].iloc[0]), 'group')}" if "groups" in frame else ""
    return {
        "data": data,
        "layout": layout(
            f"A stream of {len(frame)} requests{each}: {last:.1f} times cheaper than always exact",
            440,
            xaxis=axis("request", anchor="y2"),
            yaxis=axis("CPU seconds so far", domain=[0.5, 1], showgrid=True, rangemode="tozero"),
            yaxis2=axis("ids owed", domain=[0, 0.4], showgrid=True, rangemode="tozero"),
        ),
    }
