from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from histods.dataset.pairs_csv import read_pairs
from histods.errors import HistodsError

EXAMPLE = Path(__file__).parents[3] / "data_manifest.example.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data set"
    folder.mkdir()
    return folder


def read(root: Path, content: str | bytes) -> pl.DataFrame:
    path = root.parent / "pairs.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_pairs(path, root)


def rows(root: Path, content: str | bytes) -> list[tuple[object, ...]]:
    return read(root, content).rows()


def refusal(root: Path, content: str | bytes) -> str:
    with pytest.raises(HistodsError) as refused:
        read(root, content)
    return str(refused.value).replace(str(root.parent / "pairs.csv"), "FILE").replace(str(root), "ROOT")


def test_the_example_beside_the_readme_is_read(root: Path) -> None:
    table = read_pairs(EXAMPLE, root)
    assert table.columns == ["image", "mask", "group", "split", "line"]
    assert table["image"].null_count() == 0
    assert table["mask"].null_count() == 1
    assert set(table["split"]) == {"train", "test"}


def test_only_the_image_is_needed(root: Path) -> None:
    assert rows(root, "image\na.jpg\nb.jpg\n") == [
        ("a.jpg", None, None, None, 2),
        ("b.jpg", None, None, None, 3),
    ]


def test_columns_may_stand_in_any_order_case_and_company(root: Path) -> None:
    content = "stain, Split ,MASK,note,Image\nHE,test,a_m.png,x,a.jpg\n"
    assert rows(root, content) == [("a.jpg", "a_m.png", None, "test", 2)]


def test_byte_order_mark_and_windows_line_ends_are_read(root: Path) -> None:
    assert rows(root, b"\xef\xbb\xbfimage,mask\r\na.jpg,a.png\r\n") == [("a.jpg", "a.png", None, None, 2)]


def test_spaces_around_fields_and_empty_lines_are_passed_over(root: Path) -> None:
    content = 'image,mask,group\n\n a.jpg , a.png ,  \n  \n" b.jpg",,s 1 \n'
    assert rows(root, content) == [("a.jpg", "a.png", None, None, 3), (" b.jpg", None, "s 1", None, 5)]


def test_paths_become_relative_to_the_root(root: Path) -> None:
    content = f"image,mask\n./a//b.jpg,a/../m/b.png\n{root}/c.jpg,{root}/x/../m/c.png\n"
    assert rows(root, content) == [("a/b.jpg", "m/b.png", None, None, 2), ("c.jpg", "m/c.png", None, None, 3)]


def test_a_root_behind_a_link_has_two_names(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert rows(link, f"image\n{root}/a.jpg\n{link}/b.jpg\n") == rows(root, "image\na.jpg\nb.jpg\n")


def test_a_line_in_quotes_counts_every_line_it_spans(root: Path) -> None:
    content = 'image,note\na.jpg,"one\ntwo"\nb.jpg,\n../c.jpg,\n'
    assert refusal(root, content).startswith("FILE, line 5: '../c.jpg' is not a file inside ROOT")
    assert rows(root, content.replace("../", ""))[1:] == [
        ("b.jpg", None, None, None, 4),
        ("c.jpg", None, None, None, 5),
    ]


characters = st.characters(codec="utf-8", exclude_characters="/\0\r\t")
fields = st.text(characters, min_size=1).filter(lambda text: not text.endswith(" "))
files = fields.filter(lambda name: name not in (".", ".."))
images, masks = files.map("i/{}".format), files.map("m/{}".format)  # with slashes, backslashes are parts of names


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(
        st.tuples(images, st.none() | masks, st.none() | fields, st.none() | fields),
        min_size=1,
        unique_by=lambda row: row[0],
    ),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_what_any_csv_writer_writes_is_read_back(
    root: Path, table: list[tuple[str | None, ...]], ends: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerows([("image", "mask", "group", "split"), *((field or "" for field in row) for row in table)])
    assert read(root, text.getvalue()).select("image", "mask", "group", "split").rows() == table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "",
            "FILE: the first line is empty; name the columns "
            "image,mask,group,split there (image is needed, none may come twice).",
        ),
        (
            "a.jpg,a_mask.png\n",
            "FILE: the first line is a.jpg,a_mask.png; name the columns image,mask,group,split "
            "there (image is needed, none may come twice).",
        ),
        (
            "image;mask\na.jpg;b.png\n",
            "FILE: the first line is image;mask; name the columns image,mask,group,split there "
            "(image is needed, none may come twice).",
        ),
        (
            "image,mask,Mask\na.jpg,,\n",
            "FILE: the first line is image,mask,mask; name the columns image,mask,group,split "
            "there (image is needed, none may come twice).",
        ),
        (
            "image,mask\n",
            "FILE has only its first line; add a line for each image.",
        ),
        (
            "image,mask\na.jpg,a.png\nb,1.jpg,b.png\n",
            "FILE, line 3 needs 2 fields like the first line, but has 3; put quotes around a name "
            "that has a comma.",
        ),
        (
            "image,mask\na.jpg\n",
            "FILE, line 2 needs 2 fields like the first line, but has 1; put quotes around a name "
            "that has a comma.",
        ),
        (
            "image,mask\n,a.png\n",
            "FILE, line 2 names no image; name it or remove the line.",
        ),
        (
            "image\n../a.jpg\n",
            "FILE, line 2: '../a.jpg' is not a file inside ROOT; name it relative to that folder.",
        ),
        (
            "image\na/../../b.jpg\n",
            "FILE, line 2: 'a/../../b.jpg' is not a file inside ROOT; name it relative to that folder.",
        ),
        (
            "image,mask\na.jpg,/elsewhere/a.png\n",
            "FILE, line 2: '/elsewhere/a.png' is not a file inside ROOT; name it relative to that folder.",
        ),
        (
            "image\n.\n",
            "FILE, line 2: '.' is not a file inside ROOT; name it relative to that folder.",
        ),
        (
            "image\na.jpg\nb.jpg\n./a.jpg\n",
            "FILE names the image a.jpg in lines 2 and 4; remove one of them.",
        ),
        (
            "image,mask\na.jpg,b.jpg\nb.jpg,\n",
            "FILE names b.jpg as a mask in line 2 and as an image in line 3; correct one of them.",
        ),
        (
            "image,mask\na.png,a.png\n",
            "FILE names a.png as a mask in line 2 and as an image in line 2; correct one of them.",
        ),
        (
            b"image\n\xe4.jpg\n",
            "FILE is not UTF-8: it has byte 0xe4 at position 6; save it as UTF-8.",
        ),
        (
            'image\na.jpg\n"b.jpg\n',
            "FILE, line 3 does not parse as fields with commas between them (unexpected end of data); correct it.",
        ),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_in_one_line(
    root: Path, content: str | bytes, message: str
) -> None:
    assert refusal(root, content) == message


def test_a_missing_file_is_refused_in_one_line(root: Path) -> None:
    missing = root / "none.csv"
    with pytest.raises(HistodsError) as refused:
        read_pairs(missing, root)
    assert str(refused.value) == (
        f"{missing} cannot be read (No such file or directory); give --pairs a CSV file that can be read."
    )


@pytest.mark.parametrize(
    ("content", "image", "mask"),
    [
        ("image,mask\nscans\\s 0\\a.jpg,ann\\a.png\n", "scans/s 0/a.jpg", "ann/a.png"),
        ("image,mask\n.\\a.jpg,.\\m\\a.png\n", "a.jpg", "m/a.png"),
        ("image,mask\ns/a.jpg,m\\a.png\n", "s/a.jpg", "m/a.png"),
        ("mask,note,image\nm\\a.png,a\\b,s\\a.jpg\n", "s/a.jpg", "m/a.png"),
        ('image,mask\r\n"s\\a,1.jpg","m\\a,1.png"\r\n', "s/a,1.jpg", "m/a,1.png"),
        ("image\ns\\a.jpg\n", "s/a.jpg", None),
        ("image,mask\ns/odd\\name.jpg,m/odd\\name.png\n", "s/odd\\name.jpg", "m/odd\\name.png"),
    ],
)
def test_backslashes_separate_folders_where_no_slash_does(
    root: Path, content: str, image: str, mask: str | None
) -> None:
    assert read(root, content).select("image", "mask").row(0) == (image, mask)


def test_backslashes_do_not_lead_out_of_the_dataset(root: Path) -> None:
    assert "is not a file inside ROOT" in refusal(root, "image\n..\\a.jpg\n")


@pytest.mark.parametrize("kind", ["pipe", "folder", "absent"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pairs.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(
        HistodsError, match=r"^\S+ (cannot be read|is (a folder|not a))[^;\n]*; give --pairs [^\n]+$"
    ):
        read_pairs(path, tmp_path)
