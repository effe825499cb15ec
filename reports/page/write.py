"""`report`: one page of all that a workspace has, in a single file that opens from a disk and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from histods.errors import HistodsError
from histods.io.atomic import write_text
from histods.io.workspace import Workspace
from histods.printing import escaped, printed
from histods.version import __version__
from reports.page.fills import paint_class
from reports.page.packing import pack, script_json
from reports.page.pictures import Pictures
from reports.page.section import Content, Missing
from reports.page.sections import classes, evaluations, findings, overview, runs, split, stored, thumbnails
from reports.page.source import read_source

if TYPE_CHECKING:
    from histods.records import Progress
    from reports.page.fills import Paint
    from reports.page.section import Section
    from reports.page.source import Source

SECTIONS: tuple[Section, ...] = (
    overview.SECTION,
    findings.SECTION,
    thumbnails.SECTION,
    classes.SECTION,
    split.SECTION,
    stored.SECTION,
    runs.SECTION,
    evaluations.SECTION,
)
"""The sections of the page, from top to bottom; a new one is a module, a template and an entry here."""
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, pl.exceptions.PolarsError)
"""Errors of reading tables that were edited by hand: the section reports them, and the other sections stay."""
_TEMPLATE = Path(__file__).parent / "template"
_SCRIPTS = (
    "dom",
    "charts",
    "lines",
    "masks",
    "pictures",
    "viewer",
    "findings",
    "classes",
    "split",
    "runs",
    "start",
)
"""Scripts of `template/js`, in the order in which they stand in the page."""


@printed()
@dataclass(frozen=True, kw_only=True, slots=True)
class ReportResult:
    """The page that `report` wrote.

    Attributes:
        file: its path.
        bytes: its size.
        sections: names of the sections that have something to show.
        missing: the others, each with the reason and the command that fills it, one line each.
        problems: what could not be read, one line each; the page says the same in its place.
        pictures: samples whose pictures are in the page.
    """

    file: Path
    bytes: int
    sections: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    pictures: int


def report(
    workspace: str | Path | None = None, out: str | Path | None = None, *, progress: Progress | None = None
) -> ReportResult:
    """Write one page of what was found, with charts, pictures of samples, classes, split and runs.

    Args:
        workspace: folder of the audit and of all that was made from it.
        out: the HTML file; `report.html` of the workspace if None.
        progress: called with a stage, sections or pictures done, and all of them.

    Raises:
        HistodsError: the workspace has nothing to show, or `out` is in the dataset, is a folder or is not named
            like an HTML file.
    """
    space = Workspace.find(workspace)
    source = read_source(space)
    file = _choose_file(space, source, out)
    pictures = Pictures(source)
    contents: dict[str, Content] = {}
    for done, section in enumerate(SECTIONS):
        if progress is not None:
            progress("gathering what there is", done, len(SECTIONS))
        contents[section.name] = _build(section, source, pictures)
    drawn = pictures.draw(progress)
    text = _render(source, contents, drawn).encode("utf-8", "replace").decode()
    write_text(file, text)
    empty = {name: content.missing for name, content in contents.items() if content.missing is not None}
    return ReportResult(
        file=file,
        bytes=len(text.encode()),
        sections=tuple(name for name in contents if name not in empty),
        missing=tuple(f"{one.reason} {one.command or ''}".rstrip() for one in empty.values()),
        problems=(*source.problems, *(line for content in contents.values() for line in content.problems)),
        pictures=sum(1 for one in drawn if one and ("image" in one or "mask" in one)),
    )


def _choose_file(space: Workspace, source: Source, out: str | Path | None) -> Path:
    """Where the page goes.

    Raises:
        HistodsError: it is a folder, in the dataset, or not named like an HTML file.
    """
    if out is None:
        return space.report
    file = Path(out)
    if file.is_dir():
        raise HistodsError(f"{file} is a folder; --out must name a file, such as {file / 'report.html'}.")
    if file.suffix.lower() not in (".html", ".htm"):
        raise HistodsError(
            f"{file} is not an HTML file; --out must name one, such as {file.with_suffix('.html')}."
        )
    if source.root is not None:
        space.check_place(file, "--out", source.root)
    return file


def _build(section: Section, source: Source, pictures: Pictures) -> Content:
    """The content of a section; where its files are damaged, the reason."""
    try:
        return section.build(source, pictures)
    except (HistodsError, OSError) as error:
        reason = str(error)
    except _DAMAGED as error:
        reason = f"The files of this section hold what histods does not write ({type(error).__name__}: {error})."
    return Content(missing=Missing(reason=escaped(reason), command=f"histods status{source.space.option}"))


def _render(source: Source, contents: dict[str, Content], drawn: list[dict[str, Any] | None]) -> str:
    """The whole page. What names hold is escaped by the template, and scripts and styles are named by digest."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = _number
    templates.filters["percent"] = _percent
    templates.filters["escaped"] = escaped
    style = (_TEMPLATE / "page.css").read_text(encoding="utf-8")
    parts = [(_TEMPLATE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    script = '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"
    theme = (_TEMPLATE / "js" / "theme.js").read_text(encoding="utf-8")
    data: dict[str, Any] = {name: content.data for name, content in contents.items()}
    data |= {"option": source.space.option, "labels": _labels(source, drawn), "systems": _tables(source, drawn)}
    return templates.get_template("page.html.j2").render(
        title=escaped(source.root.name if source.root else source.space.folder.name),
        version=__version__,
        policy=_policy(style, theme, script),
        style=Markup(style),  # noqa: S704 - a file of this package
        theme=Markup(theme),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        sections=[(section, contents[section.name]) for section in SECTIONS],
        problems=[escaped(line) for line in source.problems],
        data=Markup(script_json(data)),  # noqa: S704 - escaped there
        pictures=Markup(script_json(drawn)),  # noqa: S704 - escaped there
        packed={name: pack(content.packed) for name, content in contents.items() if content.packed is not None},
    )


def _policy(style: str, *scripts: str) -> str:
    """What the page may do: show pictures that it holds, and use this style and these scripts; nothing else."""
    hashes = [_digest(one) for one in (style, *scripts)]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {' '.join(hashes[1:])}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _labels(source: Source, drawn: list[dict[str, Any] | None]) -> dict[int, tuple[str, Paint]]:
    """Name and colour of each label of the pictures."""
    return {label: (escaped(source.names.name(label)), paint_class(label)) for label in _drawn_labels(drawn)}


def _drawn_labels(drawn: list[dict[str, Any] | None]) -> list[int]:
    return sorted({label for one in drawn if one for label in one.get("labels", ())})


def _tables(source: Source, drawn: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """The class of each label of the pictures in each class system, so that masks are drawn in its colours."""
    from histods.classes.class_system import list_label_maps, read_kept_map
    from reports.page.sections.class_comparison import class_of

    systems = []
    for name in list_label_maps(source.space):
        try:
            label_map = read_kept_map(source.space, name)
        except HistodsError:  # which the section of classes has said
            continue
        of = {label: class_of(label_map, label) for label in _drawn_labels(drawn)}
        systems.append(
            {
                "name": escaped(name),
                "classes": [(escaped(text), paint_class(at)) for at, text in enumerate(label_map.classes)],
                "of": of,
            }
        )
    return systems


def _number(value: float) -> str:
    """A number with separators of thousands."""
    return f"{value:,}"


def _percent(value: float) -> str:
    """A share in percent, two digits after the point, and more where it is small."""
    if 0 < value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if 0 < value < 0.01 else f"{value:.2f}"
