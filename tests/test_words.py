"""Phrases that a reader stumbles over: each has a plain form, which the message of the failing test gives."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
THING = "(?:file|mask|image|sample|class|step|shard|worker|chunk|pixel|code|row|pair|key|GPU|device|process|line)"
COUNT = "(?:row|entry|pass|line|pair|outcome|seed|kernel|task|digest|value|record)s?"
BANNED = {
    rf"\b(?:one|a|two|three) {COUNT} an? {THING}\b": "write 'one row per file'",
    r"\b(?:pairs|images|samples|operations|rows|files) a second\b": "write 'per second'",
    r"\bmend(?:s|ed)? (?:it|the|them)\b": "write 'correct'",
    r"\bvouch": "say what is checked against what",
    r"\b(?:a|some) stranger's?\b": "write 'an unknown source'",
    r"\bsends? word\b|\bto its knees\b|\bExpected no such\b": "say what happens",
    r"\bgoes? on to the same bits\b": "write 'resumes bit-exactly'",
    r"\bmeanwhile\b.*\bsomebody\b|\bsomebody asks\b": "say what waits for what",
    r"\bwhat people see of\b": "write 'how the result is shown'",
    r"\bthat are none\b|\bwhat is no \w+ is\b": "write 'other files'",
    rf"\b(?:pixels|queries|values|numbers|bytes) an? {THING}\b": "write 'pixels per file'",
    r"\bgoes on (?:from|without|to)\b": "write 'resumes' or 'continues'",
    r"\bthat are there already\b|\bis there already\b": "write 'that already exists'",
    r"\b(?:names|those|settings|numbers) of (?:now|today)\b": "write 'current'",
    r"\bstands? at (?:a|some) positions?\b": "write 'the sample at a position'",
    r"\bfor ever\b": "write 'without end'",
    r"\blets? (?:it|them) go\b|\blet go of\b": "write 'release' or 'free'",
    r"\bwaits? for nothing\b": "say what is not waited for",
    r"\bwhat the network (?:sees|is told) of\b": "write 'the latent space' or 'the condition'",
    r"\b(?:is|are) had\b|\bwhence\b|\bthereof\b": "write plain English",
}


def texts() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    found = [ROOT / name for name in names] or list(ROOT.rglob("*"))
    kept = (".py", ".md", ".toml", ".yml")
    return [
        path
        for path in found
        if path.suffix in kept
        and path.is_file()
        and path != Path(__file__)
        and not any(part.startswith(".venv") for part in path.parts)
    ]


@pytest.mark.parametrize("phrase", BANNED)
def test_no_text_has_a_phrase_that_readers_stumble_over(phrase: str) -> None:
    pattern = re.compile(phrase)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{BANNED[phrase]}:\n" + "\n".join(found)
