"""The labels file that an audit used, read again by later commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from histods.errors import StaleFileError
from histods.io.atomic import file_digest
from histods.labels.label_map import LabelTable
from histods.labels.label_map_file import BUNDLED
from histods.labels.label_names import read_labels

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary


def labels_of_audit(audit: AuditSummary) -> LabelTable:
    """The labels file of the audit; if it is gone and had no colours, the names that the audit stored.

    A bundled file has another path in another version or environment, so it is identified by name and digest.

    Raises:
        StaleFileError: the file has changed, or is gone and had colours, without which no mask can be read.
    """
    options = audit.options
    path, digest = options.labels, options.labels_digest
    if path is None:
        return LabelTable(names={})
    if Path(path).is_file():
        if digest is not None and file_digest(Path(path)) != digest:
            raise StaleFileError(
                f"The labels file {path} has changed since the audit read it; run '{audit.command}' again."
            )
        return read_labels(Path(path))
    bundled = BUNDLED / Path(path).name
    if bundled.is_file() and file_digest(bundled) == digest:
        return read_labels(bundled)
    if options.labels_have_colours:
        raise StaleFileError(
            f"The labels file {path}, whose colours the audit used, is gone; "
            f"restore it, or run '{audit.command}' with another."
        )
    return LabelTable(names=audit.label_names)
