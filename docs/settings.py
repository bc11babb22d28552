"""A hook of mkdocs: tables of settings are written from their descriptions in the code."""

import importlib
import re
from typing import Any

from mri_alps.core.settings import settings_table

_MARK = re.compile(r"<!-- settings of ([\w.]+):(\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each mark by the table of the class that it names; mkdocs calls this."""
    return _MARK.sub(
        lambda mark: settings_table(getattr(importlib.import_module(mark[1]), mark[2])), markdown
    )
