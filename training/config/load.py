"""The configuration of a run: typed sections read from YAML, with presets below and single settings on top.

A configuration file of the reference (`model:` and `diffusion:` only) can be read as it is. Each part of the
trainer owns its section; this module combines them and rejects unknown keys with the nearest known key.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml

from histods.errors import HistodsError
from histods.io.run_files import RENAMED_SETTINGS
from histods.io.strict_yaml import NonStringScalar, Origin, load_yaml
from training.config.presets import IMPLIED_BY_FLOW, OLD_NAMES, PRESETS
from training.config.sections import TrainConfig
from training.config.setting import one_of, wrong_setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from histods.io.strict_yaml import Value


def read_config(
    path: str | Path | None = None,
    settings: Sequence[str] = (),
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> TrainConfig:
    """Read the configuration of a run: `defaults`, then the preset, the file and single settings.

    The prediction `flow` implies values of other settings, which all of these override.

    Args:
        path: YAML file; None for no file.
        settings: `section.key=value`, or `preset=NAME`; values are YAML.
        defaults: values by section, which everything else overrides.

    Raises:
        HistodsError: the file cannot be read, or a key or value is wrong.
    """
    document = {} if path is None else _load(Path(path))
    for setting in settings:
        _apply(document, setting)
    preset = document.pop("preset", "default")
    preset = OLD_NAMES.get(preset, preset) if isinstance(preset, str) else preset
    if not isinstance(preset, str) or preset not in PRESETS:
        raise HistodsError(
            f"There is no preset {preset!r} among {', '.join(PRESETS)}{_nearest(str(preset), PRESETS)}"
        )
    given = merge(merge(defaults or {}, PRESETS[preset]), document)
    diffusion = given.get("diffusion")
    if isinstance(diffusion, dict) and diffusion.get("prediction") == "flow":
        given = merge({"diffusion": IMPLIED_BY_FLOW}, given)
    made: TrainConfig = _make(TrainConfig, given, "")
    return made


def _load(path: Path) -> dict[str, Any]:
    """Read a file of sections as strictly as a label map: no repeated keys, no tags, no second document."""
    origin = Origin(str(path))
    document = _values(load_yaml(origin, path))
    if not isinstance(document, dict):
        raise origin.error("sections such as 'model:'", f"{document!r:.60}", "correct it")
    _rename(document)
    return document


def _rename(document: dict[str, Any]) -> None:
    """Give settings their current names.

    Raises:
        HistodsError: a setting is given under both names.
    """
    for old, new in RENAMED_SETTINGS.items():
        (section, key), (other, name) = old.split("."), new.split(".")
        if not isinstance(document.get(section), dict) or key not in document[section]:
            continue
        inner = document.setdefault(other, {})
        if document[other] is None:
            inner = document[other] = {}
        if not isinstance(inner, dict):
            raise wrong_setting(other, "a section with keys", f"{inner!r:.60}")
        if name in inner:
            raise HistodsError(f"{old} is the former name of {new}, and both are given; remove one of them.")
        inner[name] = document[section].pop(key)


def _values(value: Value) -> Any:
    """Convert what strict reading leaves as text (0.1, true, null) to the values that YAML means by it."""
    if isinstance(value, NonStringScalar):
        return yaml.safe_load(value.text)
    if isinstance(value, dict):
        return {str(_values(key)): _values(inner) for key, inner in value.items()}
    return [_values(inner) for inner in value] if isinstance(value, list) else value


def _apply(document: dict[str, Any], setting: str) -> None:
    """Set one `section.key=value` in a document."""
    name, equals, value = setting.partition("=")
    keys = RENAMED_SETTINGS.get(name.strip(), name.strip()).split(".")
    if not equals or not all(keys):
        raise HistodsError(f"--set {setting!r} is not section.key=value; give, for example, --set run.steps=1000.")
    place = document
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise HistodsError(
                f"--set {setting} needs a section {key!r}, but {key!r} is {inner!r}; correct one of them."
            )
        place = inner
    try:
        place[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise HistodsError(f"--set {setting} has the value {value!r}, which is not YAML; quote it.") from error


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two documents; where both have a value, use that of `above`."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and value is None:  # a section without keys, such as `model:` alone
            continue
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _make(kind: Any, document: Any, where: str) -> Any:
    """Make a dataclass from a mapping and check every value against its field's type."""
    if not isinstance(document, dict):
        raise wrong_setting(where, "a section with keys", f"{document!r:.60}")
    hints = typing.get_type_hints(kind)
    known = {entry.name for entry in fields(kind)}
    values = {}
    for key, value in document.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in known:
            raise HistodsError(f"There is no setting {name!r}{_nearest(str(key), known)}")
        hint = hints[key]
        values[key] = (
            _make(hint, {} if value is None else value, name) if is_dataclass(hint) else _parse(hint, value, name)
        )
    return kind(**values)


def _parse(hint: Any, value: Any, name: str) -> Any:
    """Convert a value to the type of its field; common slips in YAML (1e-4 is text) are read as meant."""
    options = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if get_origin(option) is dict and isinstance(value, dict):
            kind = get_args(option)[1]
            return {str(key): _parse(kind, inner, f"{name}.{key}") for key, inner in value.items()}
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_parse(get_args(option)[0], inner, name) for inner in value)
        if _fits(option, value):
            return _number(value, name) if option is float else value
    raise wrong_setting(name, _describe(options), repr(value))


def _fits(option: Any, value: Any) -> bool:
    """Whether a value has a type or can be read as that type."""
    if get_origin(option) is Literal:
        return value in get_args(option)
    if option is float and isinstance(value, str):
        return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+", value) is not None
    kinds: dict[Any, Any] = {bool: bool, int: int, float: (int, float), str: str, type(None): type(None)}
    return isinstance(value, kinds.get(option, ())) and (option is bool or not isinstance(value, bool))


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise wrong_setting(name, "a number below 1e308", "too large") from error


def _describe(options: Sequence[Any]) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}
    named = [
        one_of(map(str, get_args(option)))
        if get_origin(option) is Literal
        else "a list"
        if get_origin(option) is tuple
        else "a section"
        if get_origin(option) is dict
        else words[option]
        for option in options
    ]
    return " or ".join(named)


def _nearest(found: str, known: Any) -> str:
    near = difflib.get_close_matches(found, sorted(known), n=1, cutoff=0.0)
    return f"; did you mean {near[0]!r}?" if near else "; see the README."


def with_classes(config: TrainConfig, classes: Sequence[str], source: str) -> TrainConfig:
    """Return the configuration with the number of classes of the data.

    Raises:
        HistodsError: the configuration gives another number.
    """
    given = config.model.num_classes
    if given is not None and given != len(classes):
        raise HistodsError(
            f"model.num_classes is {given}, but the label map in {source} has {len(classes)} classes; "
            f"set model.num_classes={len(classes)}, or run 'histods shard --map' with another map."
        )
    return replace(config, model=replace(config.model, num_classes=len(classes)))
