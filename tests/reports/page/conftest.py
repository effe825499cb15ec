"""A workspace with everything and its page, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reports.page.write import ReportResult, report
from tests.reports.page.workspaces import Made, make_workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A dataset and a workspace with everything that the page shows; no test changes it."""
    return make_workspace(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def page(made: Made) -> ReportResult:
    """Its page."""
    return report(made.workspace)


@pytest.fixture(scope="session")
def html(page: ReportResult) -> str:
    """The text of the page."""
    return page.file.read_text(encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """The same for a test that changes it."""
    return make_workspace(tmp_path)
