"""Completion in the shell: what can be typed next, read from the workspace's files, and never an error."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer  # noqa: TC002 - Typer reads annotations

_MOST = 200
_TABLES = ("labels", "classes", "split", "runs")


def complete_codes(context: typer.Context, incomplete: str) -> list[str]:
    """Codes of the findings that the last audit made."""
    return [code for code in sorted(_audit(context).get("findings", {})) if code.startswith(incomplete)]


def complete_shown(context: typer.Context, incomplete: str) -> list[str]:
    """What `histods show` takes: tables, codes, and the keys that begin with what was typed."""
    words = [word for word in _TABLES if word.startswith(incomplete)] + complete_codes(context, incomplete)
    return words + (_keys(context, incomplete) if incomplete else [])


def complete_maps(context: typer.Context, incomplete: str) -> list[str]:
    """Label maps: bundled ones, and YAML files in the dataset's folder and here."""
    names: set[str] = set()
    with suppress(Exception):
        bundled = Path(__file__).parent.parent / "labels" / "bundled"
        folders = [bundled, Path()]
        root = _audit(context).get("root")
        folders += [Path(root)] if isinstance(root, str) else []
        for folder in folders:
            names |= {path.name for path in folder.glob("*.yml")}
    return sorted(name for name in names if name.startswith(incomplete) and name != "drsk_labels.yml")


def complete_formats(incomplete: str) -> list[str]:
    """Formats of exported datasets."""
    from histods.exports.base import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def _workspace(context: typer.Context) -> Path:
    given = context.params.get("workspace")
    return Path(given or os.environ.get("HISTODS_WORKSPACE") or "histods-out")


def _audit(context: typer.Context) -> dict[str, Any]:
    """The summary of the last audit; empty where there is none that can be read."""
    with suppress(Exception):
        document = json.loads((_workspace(context) / "audit.json").read_text(encoding="utf-8"))
        if isinstance(document, dict) and isinstance(document.get("findings"), dict):
            return document
    return {}


def _keys(context: typer.Context, incomplete: str) -> list[str]:
    with suppress(Exception):
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with pq.ParquetFile(_workspace(context) / "manifest.parquet") as file:
            keys = file.read(columns=["key"])["key"]
        found: list[str] = keys.filter(pc.starts_with(keys, incomplete)).slice(0, _MOST).to_pylist()
        return found
    return []
