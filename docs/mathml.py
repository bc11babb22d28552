"""A hook of mkdocs: equations become MathML when the site is built.

Browsers draw MathML themselves, so that the site needs no script and no network.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?:\(|\[)(?P<latex>.*?)\\(?:\)|\])</(?P=tag)>',
    re.DOTALL,
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the equations of a page; mkdocs calls this with its HTML."""
    return _EQUATION.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    block = match["tag"] == "div"
    equation = convert(html.unescape(match["latex"]), display="block" if block else "inline")
    tag = match["tag"]
    return f'<{tag} class="arithmatex">{equation}</{tag}>'
