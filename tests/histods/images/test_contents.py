"""What is read of a file before decoding: both ends of a JPEG, all of others, within the memory that there is."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from histods.errors import UnreadableFileError
from histods.images import contents
from histods.images.contents import Contents, Room, outweighs_masks, read_contents, read_header
from histods.images.reader import check_image
from histods.io.open_file import OpenFile, OpenRoot

if TYPE_CHECKING:
    from pathlib import Path


def encode(file_format: str, *, side: int = 64, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


JPEG = encode("JPEG")


def header_of(folder: Path, content: bytes, *, whole: bool = False) -> object:
    (folder / "file").write_bytes(content)
    with OpenFile(folder / "file") as file:
        return read_header(file, whole=whole)


def test_the_ends_of_a_jpeg_tell_what_all_of_it_does(tmp_path: Path) -> None:
    assert header_of(tmp_path, JPEG) == check_image(JPEG)


@pytest.mark.parametrize(
    "content",
    [
        JPEG[:-1],
        JPEG + b"\0" * 9,  # padding: only the whole file tells
        encode("JPEG", progressive=True),
        JPEG[:2] + (b"\xff\xfe\x0f\xff" + bytes(4093)) * 2 + JPEG[2:],  # a header of more than 4 KiB
        encode("PNG"),
        encode("TIFF"),
    ],
)
def test_where_the_ends_do_not_suffice_the_whole_file_is_needed(tmp_path: Path, content: bytes) -> None:
    assert header_of(tmp_path, content) is None
    assert header_of(tmp_path, JPEG, whole=True) is None


@pytest.mark.parametrize("content", [b"", b"P5 1 1", b"\xff\xd8", JPEG[:30]])
def test_damage_in_the_first_bytes_is_named(tmp_path: Path, content: bytes) -> None:
    try:
        assert header_of(tmp_path, content) is None
    except UnreadableFileError as error:
        assert "\n" not in str(error)
    with pytest.raises(UnreadableFileError):
        check_image(content)


def read(root: Path, name: str, *, is_mask: bool = False, look: bool = False, whole: bool = False) -> Contents:
    with OpenRoot(root) as opened:
        found = read_contents((name, is_mask, None, look), root=opened, whole=whole, room=Room())
    assert found is not None
    return found


def test_an_image_is_read_as_far_as_is_needed_and_a_mask_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "日本.jpg").write_bytes(JPEG)
    state = (tmp_path / "日本.jpg").stat()
    header = check_image(JPEG)
    assert read(tmp_path, "日本.jpg") == Contents(len(JPEG), state.st_mtime_ns, header)
    assert read(tmp_path, "日本.jpg", is_mask=True) == Contents(len(JPEG), state.st_mtime_ns, None, JPEG)
    assert read(tmp_path, "日本.jpg", whole=True) == Contents(len(JPEG), state.st_mtime_ns, None, JPEG)


def test_pixels_of_a_jpeg_are_read_only_where_it_may_be_a_mask(tmp_path: Path) -> None:
    flat = io.BytesIO()
    Image.new("L", (64, 64), 9).save(flat, "JPEG")
    heavy = encode("JPEG", side=256, quality=95)
    (tmp_path / "flat.jpg").write_bytes(flat.getvalue())
    (tmp_path / "heavy.jpg").write_bytes(heavy)
    assert read(tmp_path, "flat.jpg", look=True).content == flat.getvalue()
    assert read(tmp_path, "heavy.jpg", look=True).content is None
    assert outweighs_masks(len(heavy), 256, 256)
    assert not outweighs_masks(len(flat.getvalue()), 64, 64)


def test_what_cannot_be_read_is_part_of_the_result(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    assert str(read(tmp_path, "empty.png").error) == "the file is empty (0 bytes)"
    for name in ("gone.png", "folder.png", "out.png", "empty.png/deeper.png"):
        found = read(tmp_path, name)
        assert isinstance(found.error, UnreadableFileError)
        assert (found.size, found.content, found.header) == (0, None, None)
    with OpenRoot(tmp_path) as root:
        assert read_contents(("gone.png", False, "why", False), root=root, whole=True, room=Room()) == Contents()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 60), st.integers(0, 10))
def test_files_before_their_turn_never_take_more_than_the_room(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], total: int, small: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_BYTES_AHEAD", total)
        patch.setattr(contents, "_SMALL", small)
        room = Room()
        held: list[bytes] = []
        for size in sizes:
            path.write_bytes(bytes(size))
            with OpenFile(path) as file:
                used = sum(len(one) for one in held if len(one) > small)
                content = room.read(file)
                assert (content is None) == (size > small and size > total - used)
                assert content is not None or room.read(file, in_turn=True) == bytes(size)
            if content is None:
                room.give(bytes(size))
            else:
                held.append(content)
        for content in held:
            room.give(content)
        assert room._free == total


def test_room_that_a_failed_read_took_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(300 << 10))
    room = Room()
    with OpenFile(path) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenFile, "read", lambda _: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            room.read(file)
    assert room._free == Room()._free


def test_threads_share_the_room(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    room = Room()

    def take() -> None:
        for _ in range(20):
            with OpenFile(tmp_path / "large") as file:
                room.give(room.read(file))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert room._free == Room()._free
