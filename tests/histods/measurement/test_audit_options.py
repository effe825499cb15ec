"""One list of options: those of the function and of the command are its fields, and a command repeats an audit."""

from __future__ import annotations

import inspect
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histods import audit
from histods.cli.commands import audit as command
from histods.measurement.audit_options import AuditOptions

OF_THE_RUN = {"root", "workspace", "workers", "engine", "fresh", "write_labels", "progress"}
"""Parameters of the function that do not decide its result."""
TEXTS = st.text("ab *'$\"é-", min_size=1)
OPTIONS = st.builds(
    AuditOptions,
    layout=st.sampled_from([None, "suffix", "csv"]),
    mask_suffix=TEXTS,
    pairs=st.none() | TEXTS,
    unconditional=st.lists(TEXTS, max_size=2).map(tuple),
    allow_unpaired=st.booleans(),
    verify=st.sampled_from(["structure", "decode"]),
    hash=st.booleans(),
    quality=st.booleans(),
    set=st.lists(TEXTS, max_size=2).map(tuple),
)


def test_the_function_has_these_options_and_defaults() -> None:
    parameters = inspect.signature(audit).parameters
    assert parameters.keys() - OF_THE_RUN == {field.name for field in fields(AuditOptions)}
    for field in fields(AuditOptions):
        assert parameters[field.name].default == field.default


def test_the_command_has_these_options() -> None:
    own = {"hash_images": "hash", "settings": "set"}
    names = {own.get(name, name) for name in inspect.signature(command.audit).parameters}
    assert {field.name for field in fields(AuditOptions)} <= names


@given(options=OPTIONS)
def test_the_command_gives_back_the_options(options: AuditOptions) -> None:
    words = shlex.split(options.command(Path("/data/my patches")))
    assert words[:3] == ["histods", "audit", "/data/my patches"]
    found: dict[str, Any] = {"unconditional": (), "set": ()}
    rest = iter(words[3:])
    for word in rest:
        name = word.removeprefix("--").replace("-", "_")
        if name in ("allow_unpaired", "nearest_colour", "hash", "quality"):
            found[name] = True
        elif name in ("unconditional", "set"):
            found[name] += (next(rest),)
        else:
            found[name] = next(rest)
    assert AuditOptions(**found) == options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (AuditOptions(), "histods audit /data"),
        (AuditOptions(mask_suffix="_seg", hash=True), "histods audit /data --mask-suffix _seg --hash"),
        (
            AuditOptions(hash=True, group_regex="^(a b)", unconditional=("x", "y z")),
            "histods audit /data --unconditional x --unconditional 'y z' --group-regex '^(a b)' --hash",
        ),
    ],
    ids=str,
)
def test_what_is_as_by_default_is_left_out(options: AuditOptions, expected: str) -> None:
    assert options.command(Path("/data")) == expected
