import gzip
import json
import pickle
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cleaner.data.sources import open_source
from cleaner.errors import SourceError


@pytest.fixture
def root(tmp_path):
    """A folder with three images and one outside it."""
    folder = tmp_path / "data"
    for path in ("data/1.jpg", "data/sub dir/2.jpg", "data/3.jpg", "outside.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return folder


def csv_of(root, text, encoding="utf-8"):
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return root / "labels.csv"


def parquet_of(root, metadata=None, **columns):
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), root / "labels.parquet")
    return root / "labels.parquet"


PATHS = ["1.jpg", "sub dir/2.jpg", "3.jpg"]


def test_a_csv_keeps_labels_as_text_and_other_columns(root):
    source = open_source(csv_of(root, 'id,path,label\n5,1.jpg,007\n6,sub dir/2.jpg,"a, ""b"""\n\n7,3.jpg,梨/x\n'))
    assert source.listing().to_pydict() == {
        "path": PATHS,
        "label": ["007", 'a, "b"', "梨/x"],
        "id": ["5", "6", "7"],
    }


def test_a_csv_from_a_spreadsheet_with_a_byte_order_mark_is_read(root):
    source = open_source(csv_of(root, "path,label\r\n1.jpg,a\r\n3.jpg,b\r\n", "utf-8-sig"))
    assert source.listing().column("label").to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (pa.array([3, 10, 3]), ["3", "10", "3"]),
        (pa.array(["007", "b", "b"]).dictionary_encode(), ["007", "b", "b"]),
        (pa.array(["x", "y", "y"], pa.large_string()), ["x", "y", "y"]),
        (pa.array([True, False, True]), ["true", "false", "true"]),
    ],
    ids=["whole numbers", "categories", "large text", "truth values"],
)
def test_labels_of_a_parquet_become_text(root, labels, texts):
    source = open_source(parquet_of(root, path=PATHS, label=labels, score=[0.1, 0.2, 0.3]))
    assert source.listing().column("label").to_pylist() == texts
    assert source.listing().schema.field("score").type == pa.float64()


def test_a_parquet_that_pandas_wrote_is_read(root):
    pd.DataFrame({"path": PATHS, "label": pd.Categorical(["a", "b", "a"])}).to_parquet(root / "l.parquet")
    assert open_source(root / "l.parquet").listing().column_names == ["path", "label"]


def test_images_are_read_in_order_and_a_lost_one_gives_its_error(root):
    source = open_source(csv_of(root, "path,label\n1.jpg,a\nsub dir/2.jpg,b\n3.jpg,b\n"))
    (root / "sub dir/2.jpg").unlink()
    first, lost, last = source.read(np.arange(3), PATHS)
    assert (first, last) == (b"data/1.jpg", b"data/3.jpg")
    assert isinstance(lost, FileNotFoundError)


def test_a_link_to_a_file_may_lead_anywhere(root):
    (root / "4.jpg").symlink_to(root.parent / "outside.jpg")
    source = open_source(csv_of(root, "path,label\n1.jpg,a\n4.jpg,b\n"))
    assert list(source.read(np.array([1]), ["4.jpg"])) == [b"outside.jpg"]


def test_paths_may_lead_wherever_root_allows(root):
    file = csv_of(root, f"path,label\n1.jpg,a\n../outside.jpg,b\n{root}/3.jpg,b\n")
    source = open_source(file, {"table": {"root": root.parent}})
    assert list(source.read(np.arange(3), source.listing().column("path").to_pylist())) == [
        b"data/1.jpg",
        b"outside.jpg",
        b"data/3.jpg",
    ]
    with pytest.raises(SourceError, match=rf"give the folder that holds them all, --root {root.parent}$"):
        open_source(file)
    with pytest.raises(SourceError, match="is no folder"):
        open_source(file, {"table": {"root": root / "none"}})


def test_one_file_by_two_paths_is_one_image(root):
    file = csv_of(root, f"path,label\n1.jpg,a\n{root}/1.jpg,b\n")
    with pytest.raises(SourceError, match="the same path again: line 3"):
        open_source(file)


def test_labels_lose_the_white_space_around_them_and_their_unicode_form(root):
    source = open_source(csv_of(root, "path,label\n1.jpg, Caf\u00e9\nsub dir/2.jpg,Cafe\u0301 \n3.jpg,b\n"))
    assert source.listing().column("label").to_pylist() == ["Caf\u00e9", "Caf\u00e9", "b"]


def test_labels_that_differ_in_case_or_space_only_are_told(root):
    source = open_source(csv_of(root, "path,label\n1.jpg,Red Daisy\nsub dir/2.jpg,red  daisy\n3.jpg,rose\n"))
    (note,) = source.notes()
    assert "Red Daisy (1) and red  daisy (1); rename them" in note


BAD_CSV = {
    "no path": ("paths,label\n1.jpg,a\n", r"no column path \(did you mean paths\?\); it needs the columns path, label"),
    "no columns known": ("x,y\n1.jpg,a\n", r"no column path \(known: x, y\); no column label \(known: x, y\)"),
    "a column twice": ("path,label,label\n1.jpg,a,b\n", "columns of the same name: label"),
    "no names at all": (
        "1.JPG,Bluebell\n2.JPG,Iris\n",
        r"no column label \(known: 1.JPG, Bluebell\).*--columns path=NAME",
    ),
    "a name with a blank": ("path, label\n1.jpg,a\n", r"no column label \(did you mean ' label'\?\)"),
    "other names": (
        "id,filename,class\n5,1.jpg,a\n",
        r"no column path .*; give --columns path=filename,label=class$",
    ),
    "empty": ("", "empty; it needs a line with the column names"),
    "header only": ("path,label\n", "no images"),
    "ragged": ("path,label\n1.jpg,a\n3.jpg,b,c\n", r"other than 2 values: line 3 \(3\); quote values"),
    "open quote": ('path,label\n1.jpg,"a\n', "line 2: unexpected end of data"),
    "empty label": ("path,label\n1.jpg,a\n3.jpg,\nsub dir/2.jpg, \n", "empty label: line 3, line 4; give each"),
    "empty path": ("path,label\n,a\n3.jpg,b\n", "empty path: line 2; "),
    "absolute": ("path,label\n/etc/1.jpg,a\n3.jpg,b\n", r"outside .*/data: line 2 \(/etc/1.jpg\); .*, --root /$"),
    "absolute on Windows": ("path,label\nC:\\x\\1.jpg,a\n3.jpg,b\n", "missing file: line 2"),
    "outside": (
        "path,label\n1.jpg,a\n../outside.jpg,b\n",
        r"outside .*/data: line 3 \(../outside.jpg\); give",
    ),
    "outside and back": ("path,label\n1.jpg,a\nsub dir/../../outside.jpg,b\n", "outside .*/data: line 3"),
    "through a linked folder": ("path,label\n1.jpg,a\nlinked/outside.jpg,b\n", "outside .*/data: line 3"),
    "missing": ("path,label\n1.jpg,a\n\nnone.jpg,b\n", r"missing file: line 4 \(none.jpg\); write paths relative"),
    "a folder": ("path,label\n1.jpg,a\nsub dir,b\n", r"missing file: line 3 \(sub dir\)"),
    "null character": ("path,label\n1.jpg,a\nx\0/y.jpg,b\n", "missing file: line 3"),
    "again": ("path,label\n1.jpg,a\n3.jpg,b\n./1.jpg,b\n", r"the same path again: line 4 \(./1.jpg\); keep one row"),
    "one class": ("path,label\n1.jpg,a\n3.jpg,a\n", "all images are of one class, a"),
    "many": (
        "path,label\n" + "no.jpg,a\n" * 5,
        r"\(no.jpg\), line 3 \(no.jpg\), line 4 \(no.jpg\) \(5 in all\)",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_csv_that_is_no_data_set_says_what_where_and_what_to_do(root, text, complaint):
    (root / "linked").symlink_to(root.parent)
    with pytest.raises(SourceError, match=complaint) as caught:
        open_source(csv_of(root, text))
    assert str(caught.value).startswith(str(root / "labels.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_in_another_encoding_says_so(root, encoding):
    with pytest.raises(SourceError, match=r"no UTF-8 after byte [0-9]+; save it"):
        open_source(csv_of(root, "path,label\n1.jpg,é\n3.jpg,b\n", encoding))


BAD_PARQUET = {
    "null label": ({"path": PATHS, "label": ["a", None, "b"]}, "empty label: row 2"),
    "lists": ({"path": PATHS, "label": [["a"], ["b"], ["a"]]}, "column label .*can't be read as text"),
    "null path": ({"path": ["1.jpg", None, "3.jpg"], "label": PATHS}, "empty path: row 2"),
    "no label": ({"path": PATHS, "labels": PATHS}, r"no column label \(did you mean labels\?\)"),
    "again": ({"path": ["1.jpg", "3.jpg", "1.jpg"], "label": PATHS}, r"the same path again: row 3 \(1.jpg\)"),
}


@pytest.mark.parametrize(("columns", "complaint"), BAD_PARQUET.values(), ids=BAD_PARQUET)
def test_a_parquet_that_is_no_data_set_names_the_row(root, columns, complaint):
    with pytest.raises(SourceError, match=complaint):
        open_source(parquet_of(root, **columns))


def test_a_file_that_is_no_parquet_says_so(root):
    whole = parquet_of(root, path=PATHS, label=PATHS).read_bytes()
    for content in (b"nothing of the kind", b"", whole[: len(whole) // 2]):
        (root / "x.parquet").write_bytes(content)
        with pytest.raises(SourceError, match=r"x\.parquet: is no Parquet file, or not the whole of one"):
            open_source(root / "x.parquet")


@pytest.mark.parametrize("name", ["none", "1.jpg", "none.csv"])
def test_what_no_source_takes_is_told_what_they_take(root, name):
    with pytest.raises(SourceError, match=r"a folder of class folders.*a CSV, TSV, JSON lines or Parquet with"):
        open_source(root / name)


def test_the_fingerprint_changes_with_a_label_and_stays_when_the_data_set_moves(root):
    before = open_source(parquet_of(root, path=PATHS, label=[1, 2, 3])).fingerprint(moved=True)
    changed = open_source(parquet_of(root, path=PATHS, label=[1, 3, 2])).fingerprint(moved=True)
    parquet_of(root, path=PATHS, label=[1, 2, 3])
    moved = root.rename(root.with_name("moved"))
    assert before != changed
    assert open_source(moved / "labels.parquet").fingerprint(moved=True) == before


def test_a_table_pickles(root):
    source = open_source(csv_of(root, "path,label\n1.jpg,a\n3.jpg,b\n"))
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301


def text_of(root, name, content):
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root / name


LABELLED = {"path": PATHS, "label": ["a", "b", "b"]}
LINES = list(zip(*LABELLED.values(), strict=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "separator"),
    [("l.csv", ","), ("l.csv", ";"), ("l.csv", "\t"), ("l.csv", "|"), ("l.tsv", "\t"), ("l.TSV", ";")],
)
def test_what_parts_the_columns_is_found_out(root, name, separator, packed):
    content = "\n".join(separator.join(line) for line in [("path", "label"), *LINES]).encode()
    file = text_of(root, f"{name}.gz" if packed else name, gzip.compress(content, mtime=0) if packed else content)
    source = open_source(file)
    assert source.listing().to_pydict() == LABELLED
    assert source.fingerprint() == open_source(file).fingerprint()


@pytest.mark.parametrize("name", ["l.jsonl", "l.ndjson", "l.jsonl.gz"])
def test_json_lines_are_a_table(root, name):
    lines = [{"path": path, "label": label, "n": number} for number, (path, label) in enumerate(LINES)]
    content = "\n\n".join(json.dumps(line | ({"more": [1, "é"]} if line["n"] else {})) for line in lines).encode()
    source = open_source(text_of(root, name, gzip.compress(content, mtime=0) if name.endswith("gz") else content))
    more = [None, '[1, "é"]', '[1, "é"]']
    assert source.listing().to_pydict() == LABELLED | {"n": ["0", "1", "2"], "more": more}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("l.jsonl", '{"path": "1.jpg", "label": "a"}\nno', "line 2: no JSON"),
        ("l.jsonl", "[1]", "line 1: no JSON object"),
        ("l.jsonl", "\n", "empty; it needs a line an image"),
        ("l.jsonl", '{"file": "1.jpg", "class": "a"}', "give --columns path=file,label=class"),
        ("l.csv.gz", b"no gzip", "can't be read"),
        ("l.csv.gz", gzip.compress(b"path,label", mtime=0)[:-9], "can't be read"),
    ],
)
def test_a_table_of_text_that_is_none_says_where(root, name, content, complaint):
    with pytest.raises(SourceError, match=complaint):
        open_source(text_of(root, name, content))


def test_columns_may_be_called_otherwise(root):
    file = csv_of(root, "n,filename,class\n1,1.jpg,a\n2,3.jpg,b\n")
    source = open_source(file, {"table": {"named": ("filename", "class")}})
    assert source.listing().to_pydict() == {"path": ["1.jpg", "3.jpg"], "label": ["a", "b"], "n": ["1", "2"]}


def test_a_table_without_a_line_of_names_is_found_out_and_told(root):
    source = open_source(csv_of(root, "Bluebell,1.jpg\nIris,sub dir/2.jpg\nIris,3.jpg\n"))
    assert source.listing().to_pydict() == {"path": PATHS, "label": ["Bluebell", "Iris", "Iris"]}
    (note,) = source.notes()
    assert "holds no names but an image: column 2 was read as the path, column 1 as the label" in note
    three = csv_of(root, "7,Bluebell,1.jpg\n8,Iris,3.jpg\n")
    with pytest.raises(SourceError, match="by their numbers, --columns path=1,label=2"):
        open_source(three)
    listing = open_source(three, {"table": {"named": ("3", "2")}}).listing()
    assert listing.to_pydict() == {"path": ["1.jpg", "3.jpg"], "label": ["Bluebell", "Iris"], "column_1": ["7", "8"]}


def test_paths_of_other_systems_lead_to_the_files(root):
    (root / unicodedata.normalize("NFD", "käse")).mkdir()
    (root / unicodedata.normalize("NFD", "käse") / unicodedata.normalize("NFC", "é.jpg")).write_bytes(b"NFD/NFC")
    paths = ["sub dir\\2.jpg", unicodedata.normalize("NFC", "käse/é.jpg"), ".\\1.jpg"]
    source = open_source(
        csv_of(root, "path,label\n" + "\n".join(f"{path},{label}" for path, label in zip(paths, "abb", strict=True)))
    )
    assert list(source.read(np.arange(3), paths)) == [b"data/sub dir/2.jpg", b"NFD/NFC", b"data/1.jpg"]
    with pytest.raises(SourceError, match="outside"):
        open_source(csv_of(root, "path,label\n1.jpg,a\n..\\outside.jpg,b\n"))
    with pytest.raises(SourceError, match="the same path again"):
        open_source(csv_of(root, "path,label\n1.jpg,a\nsub dir\\2.jpg,b\nsub dir/2.jpg,b\n"))


def test_a_file_whose_name_holds_a_backslash_is_that_file(root):
    (root / "sub dir\\2.jpg").write_bytes(b"itself")
    source = open_source(csv_of(root, "path,label\nsub dir\\2.jpg,a\n1.jpg,b\n"))
    assert next(source.read(np.array([0]), ["sub dir\\2.jpg"])) == b"itself"


def test_cells_may_be_long_and_columns_nameless(root):
    source = open_source(csv_of(root, f",,path,label,text\n0,7,1.jpg,a,{'x' * 200_000}\n1,8,3.jpg,b,\n"))
    assert source.listing().column_names == ["path", "label", "column_1", "column_2", "text"]
    assert len(source.listing().column("text")[0].as_py()) == 200_000


SKIPPING = {"table": {"skip_missing": True}}


def test_rows_of_nothing_are_left_out_where_that_is_said_and_told(root):
    text = "path,label\n1.jpg,a\nnone.jpg,a\n3.jpg,\n,b\n1.jpg,a\nsub dir/2.jpg,b\n./sub dir/2.jpg,b\n"
    source = open_source(csv_of(root, text), SKIPPING)
    assert source.listing().to_pydict() == {"path": ["1.jpg", "sub dir/2.jpg"], "label": ["a", "b"]}
    (note,) = source.notes()
    assert note == (
        "left out: 1 missing file (line 3), 2 rows without path or label (line 4, line 5),"
        " 2 repeated rows (line 6, line 8)"
    )
    with pytest.raises(SourceError, match=r"empty path: line 5; .*--skip-missing"):
        open_source(csv_of(root, text))


def test_one_image_under_two_labels_is_never_skipped(root):
    with pytest.raises(SourceError, match=r"the same path again: line 4 \(1.jpg\); leave one label"):
        open_source(csv_of(root, "path,label\n1.jpg,a\n3.jpg,b\n1.jpg,b\n"), SKIPPING)


def test_labels_that_look_like_lists_are_told(root):
    source = open_source(csv_of(root, 'path,label\n1.jpg,Iris|Extra\nsub dir/2.jpg,"Iris, Rose"\n3.jpg,Rose\n'))
    assert source.notes() == ["labels that look like lists, each taken for one class: Iris|Extra"]
    source = open_source(csv_of(root, 'path,label\n1.jpg,Iris\nsub dir/2.jpg,"Iris,Rose"\n3.jpg,Rose\n'))
    assert source.notes() == ["labels that look like lists, each taken for one class: Iris,Rose"]
