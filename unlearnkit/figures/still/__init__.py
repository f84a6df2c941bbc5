"""Still pictures of figures, for pages where no script runs.

A saved notebook keeps them beside the interactive figures: previews on the web, exported HTML and
notebooks that are not trusted show them. They are drawn as SVG from the figure's JSON, without a
browser or another library.
"""

from unlearnkit.figures.still.picture import MOST_BYTES, as_image, picture
from unlearnkit.figures.still.words import describe

__all__ = ["MOST_BYTES", "as_image", "describe", "picture"]
