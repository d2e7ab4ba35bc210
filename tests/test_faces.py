"""data/faces.py: what stands in a CSV is what is loaded, or one sentence."""

import bz2
import gzip
import io
import itertools
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import refused_table, write_csv

from data.faces import fingerprint, join_faces, load_faces, load_training
from data.system.files import InputError


def test_load_gives_back_what_was_written(faces, training_csv):
    loaded = load_faces(training_csv)
    assert loaded.pictures.dtype == np.uint8 and loaded.key_points.dtype == np.float32
    np.testing.assert_array_equal(loaded.pictures, faces.pictures)
    np.testing.assert_allclose(loaded.key_points, faces.key_points, atol=1e-4)
    assert np.isnan(loaded.key_points[0, 2]).all()


def test_gz_zip_order_of_columns_bom_and_crlf_do_not_matter(training_csv, tmp_path):
    plain = load_faces(training_csv)
    packed = tmp_path / "training.csv.gz"
    packed.write_bytes(gzip.compress(training_csv.read_bytes()))
    zipped = tmp_path / "training.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(training_csv, "training.csv")
    turned = tmp_path / "turned.csv"
    table = pd.read_csv(training_csv)
    table = table[table.columns[::-1]].assign(extra="ignored")
    text = table.to_csv(index=False, lineterminator="\r\n", quoting=1)
    turned.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for path in (packed, zipped, turned):
        loaded = load_faces(path)
        np.testing.assert_array_equal(loaded.pictures, plain.pictures)
        np.testing.assert_array_equal(loaded.key_points, plain.key_points)
        assert fingerprint(loaded) == fingerprint(plain)


def test_test_file_has_ids_and_no_key_points(test_csv, tmp_path):
    loaded = load_faces(test_csv)
    assert loaded.key_points is None
    assert loaded.image_ids[:3].tolist() == ["3", "10", "17"]
    bare = write_csv(tmp_path / "bare.csv", loaded.pictures[:2])
    assert load_faces(bare).image_ids.tolist() == [1, 2]


def test_complete_only_and_rows_without_a_label(faces, tmp_path):
    key_points = faces.key_points[:9].copy()
    key_points[4] = np.nan
    path = write_csv(tmp_path / "some.csv", faces.pictures[:9], key_points)
    assert load_training(path).rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert load_training(path, complete_only=True).rows.tolist() == [1, 2, 5, 7, 8]


def broken(field, value, row=1):
    """A change to one field of a good table."""

    def change(table):
        table = table.astype({field: object})
        table.loc[row, field] = value
        return table

    return change


PIXELS = " ".join(["7"] * 9216)

BAD_TABLES = {
    "few pixels": (broken("Image", "1 2 3"), "row 2 .* 3 grey values"),
    "no pixels": (broken("Image", ""), "row 2 .* 0 grey values"),
    "300": (broken("Image", "300" + PIXELS[1:]), "row 2 .* grey value 300"),
    "-1": (broken("Image", "-1" + PIXELS[1:]), "row 2 .* grey value -1"),
    "1.5": (broken("Image", "1.5" + PIXELS[1:]), "row 2 .* whole numbers"),
    "nan": (broken("Image", "nan" + PIXELS[1:]), "row 2 .* whole numbers"),
    "huge": (broken("Image", "4294967297" + PIXELS[1:]), "row 2 .* grey value 4294967297"),
    "text": (broken("nose_tip_x", "abc"), "nose_tip_x in row 2 .* 'abc'"),
    "inf": (broken("nose_tip_x", "inf"), "nose_tip_x in row 2 .*inf"),
    "1e30": (broken("nose_tip_y", 1e30), "nose_tip_y in row 2 .*1e"),
    "no Image": (lambda table: table.drop(columns="Image"), "no column named Image"),
    "half a pair": (lambda table: table.drop(columns="nose_tip_y"), "only one of nose_tip_x"),
    "no rows": (lambda table: table[:0], "no rows"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_table_is_one_sentence_that_says_where(case, training_csv, tmp_path):
    refused_table(training_csv, tmp_path, *BAD_TABLES[case])


def test_bad_row_far_down_is_named(faces, tmp_path):
    pictures = np.concatenate([faces.pictures] * 3)
    path = write_csv(tmp_path / "long.csv", pictures)
    table = pd.read_csv(path)
    table.loc[299, "Image"] = "1 2"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match="row 300 below the header"):
        load_faces(path)


def test_unreadable_files_are_one_sentence(training_csv, tmp_path):
    content = training_csv.read_bytes()
    cases = {
        "missing.csv": None,
        "empty.csv": b"",
        "utf16.csv": content[:50000].decode().encode("utf-16"),
        "cut.csv.gz": gzip.compress(content)[:5000],
        "fake.csv.gz": b"not gzip at all",
        "fake.zip": b"not a zip at all",
        "ragged.csv": b"a,b\n1,2\n1,2,3\n",
    }
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name) as caught:
            load_faces(tmp_path / name)
        assert "\n" not in str(caught.value)
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a.csv", content)
        archive.writestr("b.csv", content)
    with pytest.raises(InputError, match="two.zip"):
        load_faces(two)
    with pytest.raises(InputError, match="is a folder"):
        load_faces(tmp_path)


def test_training_on_a_test_file_or_without_labels_is_an_error(faces, test_csv, tmp_path):
    with pytest.raises(InputError, match="no key point columns"):
        load_training(test_csv)
    nothing = np.full((3, 15, 2), np.nan)
    path = write_csv(tmp_path / "unlabelled.csv", faces.pictures[:3], nothing)
    with pytest.raises(InputError, match="no row with any"):
        load_training(path)


def test_joining_counts_a_repeated_row_once_and_keeps_the_source(faces):
    first, second = faces.take(slice(0, 10)), faces.take(slice(8, 14))
    joined = join_faces([first, second._replace(identities=np.array(list("aabbcc")))])
    assert joined.source.tolist() == [0] * 10 + [1] * 4
    assert joined.rows.tolist() == list(range(14))
    assert joined.identities[-1] == "c" and len(set(joined.identities[:10])) == 10


def test_odd_but_readable_tables_are_read(training_csv, tmp_path):
    """As browsers, spreadsheets and databases leave them."""
    text = "".join(training_csv.read_text().splitlines(keepends=True)[:5])
    expected = load_faces(training_csv)
    head, body = text.split("\n", 1)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("training.csv", text)
    tables = {
        "packed.csv": gzip.compress(text.encode()),
        "unpacked.csv.gz": text.encode(),
        "unpacked.zip": text.encode(),
        "zipped.csv": zipped.getvalue(),
        "packed.csv.bz2": bz2.compress(text.encode()),
        "blanks.csv": text.replace(",", " , ").encode(),
        "words.csv": text.replace(",,", ", None ,").replace(",,", ",na,").encode(),
        "header.csv": (head.replace("_x,", "_x\u200b,") + "\n" + body).encode(),
        "mark.csv": ("\ufeff" + head + "\u00a0\r\n" + body).encode(),
    }
    for name, data in tables.items():
        (tmp_path / name).write_bytes(data)
        found = load_faces(tmp_path / name)
        np.testing.assert_array_equal(found.pictures, expected.pictures[:4], err_msg=name)
        np.testing.assert_array_equal(found.key_points, expected.key_points[:4], err_msg=name)


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(InputError, match="t.csv is a pipe or a device; write it to a file"):
        load_faces(tmp_path / "t.csv")


@pytest.mark.parametrize("kept", [32_767, 32_766])  # with and without a blank at its end
def test_a_field_that_excel_has_cut_is_recognised(kept, training_csv, tmp_path):
    """Excel keeps 32,767 characters of a field and puts the rest into the next row."""
    table = pd.read_csv(training_csv, nrows=3, dtype=str)
    bright = " ".join(["200"] * 9216)
    table.loc[1, "Image"] = bright[:kept]
    lines = table.to_csv(index=False).splitlines(keepends=True)
    lines.insert(3, bright[kept:] + "," * 30 + "\n")
    path = tmp_path / "saved.csv"
    path.write_text("".join(lines))
    expected = "saved.csv: the picture in row 2 below the header is cut off after 32,767 characters"
    with pytest.raises(InputError, match=f"{expected}, the most that Excel keeps") as caught:
        load_faces(path)
    assert "file as it was before Excel saved it" in str(caught.value)
    table.loc[1, "Image"] = bright  # longer than Excel allows, but whole
    table.to_csv(path, index=False)
    assert len(load_faces(path).rows) == 3


def test_reading_a_long_file_shows_how_far_it_is(faces, tmp_path, monkeypatch, capsys):
    from data.system import progress

    path = write_csv(tmp_path / "long.csv", np.concatenate([faces.pictures] * 3))
    seconds = itertools.count(0, 3)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    load_faces(path)
    assert "reading long.csv, row: 256\n" in capsys.readouterr().out
