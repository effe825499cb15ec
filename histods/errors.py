"""Errors that a user can act on.

Every message is one line that says what is wrong, with which file, and what to do.
The command line catches `HistodsError` in one place; nothing else of histods prints errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from histods.colours.colour_counts import ColourCounts


class HistodsError(Exception):
    """The input or the call is wrong; the message says what is wrong and what to do."""


class UnreadableFileError(HistodsError):
    """A file's bytes are not a sound image; the message says why and what to do."""


class StaleFileError(HistodsError):
    """A file was made from something that has changed since; the message names the command that refreshes it."""


class TooFewSamplesError(HistodsError):
    """There are too few groups or samples to share out over the splits that are asked for."""


class MissingExtraError(HistodsError):
    """An optional part is not installed; the message names the pip command."""


class TerminatedError(BaseException):
    """Someone asked this process to end; as with Ctrl-C, what is under way is closed on the way out."""


class InaccessibleFileError(UnreadableFileError):
    """A file could not be opened now (permissions, disk); another time it may, so it is asked again."""


class NotAnIndexMaskError(UnreadableFileError):
    """A mask decodes well, but its values are not labels: colours, transparency, fractions, several pages.

    `colours` counts the colours of a colour or palette mask, so that a labels file can be drafted from them.
    """

    def __init__(self, reason: str, colours: ColourCounts | None = None) -> None:
        super().__init__(reason)
        self.colours = colours
