"""The charting library, vega-embed with Vega and Vega-Lite, as one script without any request to a network."""

import base64
import gzip
from importlib.metadata import version
from typing import Any

from ics.errors import UserError


def needed(module: str) -> Any:
    """A module of the extra `report`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return __import__(module)
    except ImportError:
        raise UserError(f"the report needs {module}; install it with: pip install -e '.[report]'") from None


def packed(text: str) -> str:
    """gzip in base64, the same at any time of day; every browser since 2023 can unpack it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def runtime() -> str:
    """JavaScript that defines `vegaEmbed` and nothing else that others can see."""
    return f"(() => {{{needed('vl_convert').javascript_bundle('window.vegaEmbed = vegaEmbed;')}}})();"


def runtime_version() -> str:
    """In words, for the page's foot."""
    vega = needed("vl_convert")
    return (
        f"Vega {vega.get_vega_version()}, Vega-Lite and vega-embed {vega.get_vega_embed_version()} "
        f"(vl-convert {version('vl-convert-python')})"
    )
