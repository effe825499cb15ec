"""Values inside the page: JSON that no name can end, compressed tables and pictures."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_LEVEL = 6


def script_json(value: Any) -> str:
    """A value as JSON for a `<script type="application/json">`.

    No text in it can end the element or begin a comment: `<`, `>`, `&` and the two line separators of Unicode are
    written as escapes. A number that is not finite becomes null.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    for mark, escape in _ESCAPED.items():
        text = text.replace(mark, escape)
    return text.encode("utf-8", "replace").decode()


def pack(value: Any) -> str:
    """A value as JSON, compressed with gzip, in base64; the same value gives the same text."""
    content = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode()


def data_uri(kind: str, content: bytes) -> str:
    """The content of a file as a `data:` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _finite(value: Any) -> Any:
    """The same value without NaN and infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], str):
            return value
        return [_finite(one) for one in value]
    return value
