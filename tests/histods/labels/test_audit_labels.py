"""Labels of an audit: the file that it used, whose digest is checked, wherever the bundled one lies now."""

from __future__ import annotations

from pathlib import Path

import pytest

from histods.errors import StaleFileError
from histods.io.atomic import file_digest
from histods.io.audit_summary import AuditSummary, RecordedOptions
from histods.labels.audit_labels import labels_of_audit
from histods.labels.label_map_file import BUNDLED
from histods.labels.label_names import read_labels
from histods.records import LabelCount

NAME = "drsk_labels.yml"


def audit_with(labels: Path, digest: str, *, colours: bool) -> AuditSummary:
    return AuditSummary(
        root="/data",
        manifest_digest="",
        command="histods audit data",
        labels=(LabelCount(label=3, name="kept", pixels=1, percent=100.0, images=1),),
        options=RecordedOptions(labels=str(labels), labels_digest=digest, labels_have_colours=colours),
    )


@pytest.mark.parametrize("folder", ["label_maps", "labels/bundled", ""], ids=str)
def test_a_bundled_file_is_found_though_another_installation_was_audited_with(folder: str, tmp_path: Path) -> None:
    audit = audit_with(tmp_path / "gone" / folder / NAME, file_digest(BUNDLED / NAME), colours=True)
    assert labels_of_audit(audit) == read_labels(BUNDLED / NAME)


def test_a_file_of_that_name_with_another_digest_is_not_taken_for_it(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / NAME
    assert labels_of_audit(audit_with(gone, "0" * 32, colours=False)).names == {3: "kept"}
    with pytest.raises(
        StaleFileError, match=f"The labels file {gone}, whose colours the audit used, is gone; restore it"
    ):
        labels_of_audit(audit_with(gone, "0" * 32, colours=True))


def test_a_file_that_changed_since_the_audit_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("0: background\n")
    with pytest.raises(
        StaleFileError, match="has changed since the audit read it; run 'histods audit data' again"
    ):
        labels_of_audit(audit_with(tmp_path / NAME, "0" * 32, colours=True))
