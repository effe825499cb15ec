"""Why a finding that no file has may be there all the same: nobody asked for it, or it could not be judged."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from histods.checks import CHECKS

if TYPE_CHECKING:
    from histods.io.audit_summary import AuditSummary

_ASKED_WITH = {"duplicate_image": "--hash", "unknown_label": "--labels", "off_palette": "--labels"}
"""Options without which an audit does not look for a finding, beside `--quality`."""
_VALUES = {"--labels": " FILE"}


def say_unjudged(code: str, audit: AuditSummary) -> tuple[str, ...]:
    """Sentences on what the audit does not know of a finding; none where it looked at every file.

    Args:
        code: the code of a check.
        audit: the summary of the audit, with the command that makes it again.
    """
    with_quality = any(check.quality for check in CHECKS if check.code == code)
    option = "--quality" if with_quality else _ASKED_WITH.get(code)
    if option is not None and option not in shlex.split(audit.command):
        command = f"{audit.command} {option}{_VALUES.get(option, '')}"
        return (f"The last audit did not look for it; to do so: {command}",)
    return tuple(note for note in audit.notes if code in note)
