# SPDX-License-Identifier: Apache-2.0
"""The page that a report is set in: one file that loads nothing."""

import base64
import hashlib
import html

from voxadapt.recipes.reporting.script import SCRIPT
from voxadapt.recipes.reporting.style import STYLE

NARROW_SPACE = "\u202f"  # no line break between a number and its sign


def text(value: object) -> str:
    """Escape a value for HTML text and attributes; whatever comes from data goes through here."""
    return html.escape(str(value), quote=True)


def percent(share: float) -> str:
    """``0.724`` to ``72.4 %``."""
    return f"{100 * share:.1f}{NARROW_SPACE}%"


def percent_or_dash(share: float | None) -> str:
    """As `percent`, and ``–`` where there is no share."""
    return "–" if share is None else percent(share)


def data_address(kind: str, content: bytes) -> str:
    """A ``data:`` address of pictures and sound that stand in the page itself.

    Args:
        kind: The media type, such as ``image/png``.
        content: The file.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def build_page(title: str, body: str, *, script: bool = False) -> str:
    """Set a body in a whole HTML document that can load nothing, from inside or outside.

    Args:
        title: The window's title, not escaped yet.
        body: HTML.
        script: Whether the body has maps or players, which the script serves. All of it can be read
            without.
    """
    # A label or an id that got past escaping could still neither run nor fetch anything: the one
    # script allowed is known by its hash.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    told = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        told = f"<script>{SCRIPT}</script>\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
{told}</body>
</html>
"""
