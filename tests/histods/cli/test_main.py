"""Every command helps, fails in one line, speaks JSON when asked, and never shows a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from histods.cli.main import app
from histods.synthetic import make_demo
from tests.commands import histods, in_own_process
from tests.datasets.benchmark import make_benchmark
from tests.histods.test_interrupts import ended, start

COMMANDS = [
    "audit",
    "show",
    "remap",
    "plot",
    "report",
    "split",
    "shard",
    "encode",
    "train",
    "sample",
    "import",
    "export",
    "export-data",
    "describe",
    "fix",
    "tile",
    "import-data",
    "demo",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli") / "data"
    root.mkdir()
    for number in range(6):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(root / f"x{number}.jpg")
        mask = np.zeros((16, 16), dtype=np.uint8)
        mask[: 2 * number] = number % 3
        Image.fromarray(mask).save(root / f"x{number}_mask.png")
    return root


@pytest.fixture(scope="module")
def workspace(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace") / "out"
    assert histods("audit", dataset, "-w", folder).returncode == 0
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = histods(command, "--help", env={**os.environ, "COLUMNS": "80"})
    assert result.returncode == 0
    assert f"Example: histods {command}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_help_has_groups_with_one_line_for_each_command() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    lines = [line.strip("│ ") for line in histods("--help", env=environment).stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    for name in COMMANDS:
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert line.endswith(".")
    titles = [line.split()[1] for line in lines if line.startswith("╭─")]
    assert titles == ["Options", "Dataset", "Training", "Exchange", "To"]
    assert "Exit status: 0 done; 1 done, but the audit found errors" in " ".join(lines)


@pytest.mark.parametrize("option", ["--version", "-v", "-V"])
def test_the_version_in_three_spellings(option: str) -> None:
    assert histods(option).stdout.startswith("histods ")


@pytest.mark.parametrize("command", ["shard", "encode", "sample", "import", "export"])
def test_out_in_three_spellings(command: str) -> None:
    (parameter,) = (one for one in get_command(app).commands[command].params if one.name == "out")  # type: ignore[attr-defined]
    assert set(parameter.opts) == {"--out", "-o", "--output"}


def test_the_installed_command_is_the_module() -> None:
    command = shutil.which("histods", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("histods is not installed beside this Python")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert version == in_own_process("--version").stdout
    assert re.fullmatch(r"histods \d+\.\d+\.\d+\n", version)


def test_shell_completion_offers_the_commands() -> None:
    environment = {**os.environ, "_HISTODS_COMPLETE": "complete_bash", "COMP_WORDS": "histods ", "COMP_CWORD": "1"}
    command = shutil.which("histods", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("histods is not installed beside this Python")
    result = subprocess.run([command], env=environment, capture_output=True, text=True, check=False)
    assert set(result.stdout.split()) >= set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["audit", "nowhere"],
            "histods: nowhere does not exist; give the folder that holds the dataset.",
        ),
        (["audit"], "histods: Missing argument 'ROOT'; see 'histods audit --help'."),
        (["audit", ".", "--frsh"], "histods: No such option: --frsh (Possible options: --fresh"),
        (["audit", ".", "--workers", "many"], "histods: Invalid value for '--workers': "),
        (["audit", ".", "--labels", "nothing.yml"], "histods: There is no file nothing.yml here"),
        (
            ["remap", "-w", "empty"],
            "histods: There is no audit in empty yet; run 'histods audit DATASET -w empty'.",
        ),
        (
            ["plot", "-w", "empty"],
            "histods: There is no audit in empty yet; run 'histods audit DATASET -w empty'.",
        ),
        (["fix", "--undo"], "histods: Option '--undo' requires an argument; see 'histods fix --help'."),
        (["frobnicate"], "histods: No such command 'frobnicate'; see 'histods --help'."),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], line: str) -> None:
    result = histods(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["encode", "train", "sample --masks x"])
def test_without_pytorch_the_trainer_s_commands_name_the_pip_command(words: str) -> None:
    start = f"import sys; sys.modules['torch'] = None; sys.argv = ['histods', *{words.split()}]"
    code = f"{start}; from histods.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    line = "histods: torch is not installed, which this command needs; run \"pip install 'histods[train]'\".\n"
    assert (result.returncode, result.stderr) == (2, line)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = in_own_process("audit", tmp_path / "nowhere", "--debug")
    assert result.returncode != 0
    assert "Traceback" in result.stderr


def test_json_is_all_that_stdout_gets(dataset: Path, workspace: Path) -> None:
    for arguments in (
        ["audit", dataset, "-w", workspace],
        ["remap", "-w", workspace],
        ["plot", "-w", workspace],
    ):
        document = json.loads(histods(*arguments, "--json").stdout)
        assert isinstance(document, dict)
    audit = json.loads(histods("audit", dataset, "-w", workspace, "--json").stdout)
    assert audit == json.loads((workspace / "audit.json").read_text())


def test_results_fit_80_columns_and_go_to_stdout(dataset: Path, workspace: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    for arguments in (["audit", dataset], ["remap"], ["split", "--test", "0.5"], ["plot"]):
        result = histods(*arguments, "-w", workspace, env=environment)
        assert result.stderr == ""
        lines = result.stdout.splitlines()
        assert max(len(line) for line in lines if not line.startswith("      /")) <= 80  # but for long paths
        assert any(line.startswith("Next:") for line in lines[-4:])
        quiet = histods(*arguments, "-w", workspace, "--quiet")
        assert (quiet.stdout, quiet.stderr) == ("", "")
        both = histods(*arguments, "-w", workspace, "--json", env=environment)
        assert json.loads(both.stdout)
        assert both.stderr.splitlines()[-1] == lines[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_names_that_a_stream_cannot_show_end_nothing(tmp_path: Path, encoding: str) -> None:
    root = tmp_path / "data"
    (root / "日本").mkdir(parents=True)
    Image.new("RGB", (16, 16), (9, 80, 3)).save(root / "日本" / "ä.png")
    (root / "日本" / "ä_mask.png").write_bytes(b"")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    result = in_own_process("audit", root, "-w", tmp_path / "o", env=environment, encoding=encoding)
    assert result.returncode == 1
    shown = "日本/ä_mask.png".encode(encoding, "backslashreplace").decode(encoding)
    assert f"for example {shown}" in result.stdout
    document = in_own_process("audit", root, "-w", tmp_path / "o", "--json", env=environment, encoding=encoding)
    assert json.loads(document.stdout)["root"] == str(root)


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(dataset: Path, workspace: Path) -> None:
    command = [sys.executable, "-m", "histods", "audit", str(dataset), "-w", str(workspace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_the_summary_comes_last_and_fits_a_screen(tmp_path: Path) -> None:
    """A dataset with more labels and more kinds of findings than fit: what matters is on the last 24 lines."""
    root = tmp_path / "data"
    make_demo(root, size=128)
    arguments = ["audit", "data", "-w", "o", "--hash"]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    result = histods(*arguments, env=environment, cwd=tmp_path)
    lines = result.stdout.splitlines() + result.stderr.splitlines()
    screen = lines[-23:]
    assert any(line.startswith("Findings (") for line in screen)
    assert {"Samples", lines[-3], lines[-2], lines[-1]} <= set(screen)
    found = json.loads((tmp_path / "o" / "audit.json").read_text())
    shown = " ".join(screen).split()
    assert all(str(number) == shown[shown.index(code) + 1] for code, number in found["findings"].items())
    assert len(found["labels"]) > 20
    assert f"the 20 largest of {len(found['labels'])}" in result.stdout
    three = histods(*arguments, "--labels-shown", "3", env=environment, cwd=tmp_path).stdout
    assert f"the 3 largest of {len(found['labels'])}" in three
    reason = " ".join(result.stderr.split())
    assert reason.startswith(f"Exit status 1: {found['severities']['error']} errors. ")
    assert f"{found['counts']['excluded']} samples are set aside" in reason
    assert "--fail-on never" in reason


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["a.txt"], 2),
        ([], 2),
        (["overlay/a.png", "overlay/b.png"], 1),
        (["a.png", "b.png"], 1),
        (["x_mask.png"], 1),
    ],
)
def test_nothing_that_can_be_used_is_an_error(tmp_path: Path, names: list[str], status: int) -> None:
    root = tmp_path / "data"
    for name in names or ["."]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.effect_noise((32, 32), 90).convert("RGB").save(root / name)
        elif name != ".":
            (root / name).write_text("x")
    result = histods("audit", root, "-w", tmp_path / "o")
    assert result.returncode == status
    assert result.stderr.splitlines()
    if status == 1:
        assert "Exit status 1: no image has a mask" in result.stderr
        assert histods("audit", root, "-w", tmp_path / "o", "--fail-on", "never").returncode == 0


def test_the_workspace_can_come_from_the_environment(dataset: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HISTODS_WORKSPACE": str(tmp_path / "from-environment")}
    assert histods("audit", dataset, env=environment).returncode == 0
    assert (tmp_path / "from-environment" / "manifest.parquet").is_file()


def test_the_exit_status_follows_fail_on(dataset: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(dataset, root)
    (root / "x1.jpg").rename(root / "x1.png")  # its content is JPEG: a warning
    statuses = {
        level: histods("audit", root, "-w", tmp_path / "o", "--fail-on", level).returncode
        for level in ("error", "warning", "never")
    }
    assert statuses == {"error": 0, "warning": 1, "never": 0}
    (root / "z_mask.png").write_bytes(b"")  # a broken mask without an image: errors
    statuses = {
        level: histods("audit", root, "-w", tmp_path / "o", "--fail-on", level).returncode
        for level in ("error", "never")
    }
    assert statuses == {"error": 1, "never": 0}


def test_a_changed_manifest_is_refused_with_the_command_that_makes_it_again(dataset: Path, tmp_path: Path) -> None:
    histods("audit", dataset, "-w", tmp_path)
    with (tmp_path / "manifest.parquet").open("ab") as file:
        file.write(b"x")
    for command in ("remap", "plot"):
        result = histods(command, "-w", tmp_path)
        assert result.returncode == 2
        assert f"run 'histods audit {dataset} -w {tmp_path}' again" in result.stderr


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3000 pairs, of which the last is called `slow`: links to the files of 30."""
    folder = tmp_path_factory.mktemp("many")
    make_benchmark(folder / "few", pairs=30, orphans=0, zero_masks=0, size=64, workers=1)
    (folder / "data").mkdir()
    for number in range(100):
        for path in (folder / "few").glob("patch_*"):
            (folder / "data" / f"{number:03d}_{path.name}").hardlink_to(path)
    for path in (folder / "few").glob("patch_000001*"):
        (folder / "data" / path.name.replace("patch_000001", "slow")).hardlink_to(path)
    return folder / "data"


def start_long_audit(many: Path, folder: Path) -> subprocess.Popen[str]:
    """An audit that has measured something and comes to a file that never answers."""
    arguments: list[object] = ["audit", many, "-w", folder / "o", "--workers", "1"]
    process = start(folder, arguments, SLOW_NAME="slow_mask")
    journal = folder / "o" / "audit.journal"
    while process.poll() is None and not (journal.is_file() and journal.stat().st_size > 50_000):
        time.sleep(0.002)
    return process


def test_interrupting_is_status_130_and_one_line(many: Path, tmp_path: Path) -> None:
    process = start_long_audit(many, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its workers
    _, text = process.communicate()
    assert process.returncode == 130
    assert text == "histods: interrupted; run the same command again to continue\n"
    assert (tmp_path / "o" / "audit.journal").is_file()


def test_two_audits_do_not_share_a_workspace_at_the_same_time(dataset: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "o").mkdir()
    with (tmp_path / "o" / "audit.journal").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = histods("audit", dataset, "-w", tmp_path / "o")
    assert result.returncode == 2
    assert "Another audit is at work in" in result.stderr


def test_progress_is_drawn_on_a_terminal_only(dataset: Path, tmp_path: Path) -> None:
    """The same command in a pseudo-terminal uses colour or movement; in a pipe it is plain text."""
    piped = histods("audit", dataset, "-w", tmp_path)
    assert "\x1b" not in piped.stderr
    output = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        output.extend(data)
        return data

    status = pty.spawn([sys.executable, "-m", "histods", "audit", str(dataset), "-w", str(tmp_path)], read)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"\x1b[" in output


def test_without_a_command_the_help_is_shown_as_it_is() -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    bare, asked = histods(env=environment), histods("--help", env=environment)
    assert bare.returncode == 2
    assert (bare.stdout + bare.stderr).strip() == asked.stdout.strip()


def test_being_asked_to_end_is_status_143_and_one_line_and_leaves_no_process(many: Path, tmp_path: Path) -> None:
    process = start_long_audit(many, tmp_path)
    process.terminate()
    # The pipes end when the last process that holds them has ended.
    assert ended(process) == (143, "", "histods: terminated; run the same command again to continue\n")


def test_being_killed_leaves_no_process(many: Path, tmp_path: Path) -> None:
    process = start_long_audit(many, tmp_path)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL


def test_names_never_steer_the_terminal(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "a\x1b[2J\x9b\u202e\n.jpg").write_bytes(b"")
    result = histods("audit", root, "-w", tmp_path / "o", "--workers", "1")
    assert result.returncode == 1
    assert r"a\x1b[2J\x9b\u202e\n.jpg" in result.stdout.replace("\n", "")
    assert not set(result.stdout + result.stderr) & {"\x1b", "\x9b", "\u202e"}
    refusal = histods("audit", root / "b\x1b[2J", "-w", tmp_path / "o")
    assert refusal.stderr.startswith(f"histods: {root}/b\\x1b[2J does not exist;")


def test_a_wrong_choice_is_said_in_plain_words() -> None:
    result = histods("sample", "--masks", "x", "--sampler", "foo")
    assert result.returncode == 2
    assert result.stderr == (
        "histods: Invalid value for '--sampler': 'foo' is not one of 'dpm', 'ddim', 'unipc'; "
        "see 'histods sample --help'.\n"
    )
