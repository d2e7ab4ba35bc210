"""Thousands of broken files: each loads right, or is an InputError of one sentence."""

import csv
import gzip
import io
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data import faces as faces_room
from data.faces import Faces, load_faces
from data.key_points import COLUMNS, KEY_POINTS, mirror_partners
from data.labels.sanity import USUAL, check_key_points
from data.system.files import InputError

SIDE = 4  # pictures of 4 x 4 instead of 96 x 96: hundreds of files a second
POINTS = ("nose_tip", "left_eye_center", "mouth_left_corner", "p7")
MISSING = {"", "NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan", "-nan", "-NaN", "<NA>"} | {
    *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")
}  # what pandas takes for an empty field, and we with blanks around it
# What UTF-8 can say. (Hypothesis's own default, the same, takes seconds to look through Unicode.)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
BLANK = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x200B, 0xFEFF]))


def tries(count):
    """Hypothesis tries so many examples; coverage looks away, which is twice as fast: the other
    tests reach the same lines."""
    chosen = settings(
        max_examples=count,
        derandomize=True,  # the same files in every run
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    return lambda test: pytest.mark.no_cover(chosen(test))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(faces_room, "SIZE", SIDE)


def reference(data):
    """The slow way: the csv module, int() and float(); ValueError where it is no proper file."""
    lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=False)
    rows = [row for row in lines if "".join(row).strip() or len(row) > 1]
    header, pictures, key_points = [name.strip(BLANK) for name in rows[0]], [], []
    if "Image" not in header:
        header = ["Image" if name.lower() == "image" else name for name in header]
    if not any(name[-2:] in ("_x", "_y") and name[:-2] for name in header):
        header = [n[:-2] + n[-2:].lower() if n[-2:] in ("_X", "_Y") else n for n in header]
    names = [name[:-2] for name in header if name[-2:] in ("_x", "_y") and name[:-2]]
    names = KEY_POINTS if set(names) <= set(KEY_POINTS) else tuple(dict.fromkeys(names))
    for row in rows[1:]:
        assert len(row) <= len(header)
        fields = dict(zip(header, row, strict=False))
        pixels = [int(word) for word in fields["Image"].split(" ") if word]
        assert len(pixels) == SIDE**2 and min(pixels) >= 0 and max(pixels) <= 255
        pictures.append(pixels)
        points = np.full((len(names), 2), np.nan)
        for k, name in enumerate(names):
            texts = [fields.get(f"{name}_{axis}", "") for axis in "xy"]
            texts += [text.strip().lower() for text in texts]
            if not MISSING & set(texts):
                texts = texts[:2]
                points[k] = [float(text) for text in texts]
        key_points.append(points)
    pictures = np.array(pictures, np.uint8).reshape(-1, SIDE, SIDE)
    return pictures, np.array(key_points, np.float32)


def check(path, data):
    """What loads agrees with the reference; what does not is one sentence. True if it loaded."""
    path.write_bytes(data)
    try:
        faces = load_faces(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(str(path)) and message.endswith(".") and "\n" not in message
        return False
    pictures, key_points = reference(data)
    np.testing.assert_array_equal(faces.pictures, pictures)
    if faces.key_points is None:
        assert np.isnan(key_points).all()
    else:
        np.testing.assert_allclose(faces.key_points, key_points, rtol=1e-6, atol=1e-30)
    return True


position = st.floats(-3.9, 7.9).map(str) | st.floats(-3.9, 7.9).map("{:.3f}".format) | st.just("")
odd = st.sampled_from(
    [
        *(
            "300",
            "256",
            "-1",
            "1.5",
            "nan",
            "abc",
            "inf",
            "-inf",
            "1e30",
            "1e-3",
            "True",
            "0x1",
            "1_0",
        ),
        *(
            "",
            " ",
            "\t",
            "1\t2",
            "1\n2",
            '"',
            '""',
            "'",
            ",",
            "1,2",
            "\0",
            "\r",
            "\ufeff",
            "é",
            "٣",
        ),
        *("+5", "5+3", "5-3", "--1", "NA", "None", "99999999999999999999", "18446744073709551617"),
        *("7 " * SIDE**2, "7 " * (SIDE**2 - 1), "007 " * SIDE**2, "#", ";", "\\", "1e400", "1j"),
    ]
)
names = st.sampled_from(
    [
        *(*COLUMNS[:4], "Image", "ImageId", "identity", "image", "", "x", "a.1", "IMAGE", " Image"),
        *(f"{COLUMNS[0]} ", f"\t{COLUMNS[1]}", "nose_tip_X", "lefteye_x", "Left_Eye_y", "ImageId "),
        *(f"{COLUMNS[0]}\u200b", f"\u00a0{COLUMNS[1]}", "\ufeffImage"),
    ]
)


# What is drawn again and again, made once: making a strategy takes longer than drawing from it.
some_points = st.lists(st.sampled_from(POINTS), unique=True)
other_columns = st.lists(st.sampled_from(["ImageId", "identity"]), unique=True)
grey_values = st.binary(min_size=SIDE**2, max_size=SIDE**2)
odd_names, odd_texts = names | odd, odd | TEXT
quotings = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
line_ends = st.sampled_from(["\n", "\r\n"])
starts = st.sampled_from([b"", b"\xef\xbb\xbf"])
up_to_4_bytes = st.binary(max_size=4)


@st.composite
def tables(draw):
    """A proper table: a list of rows of fields, the header first."""
    points = draw(some_points)
    columns = [f"{name}_{axis}" for name in points for axis in "xy"]
    columns += ["Image", *draw(other_columns)]
    columns = draw(st.permutations(columns))
    rows = [columns]
    for _ in range(draw(st.integers(1, 3))):
        values = map(str, draw(grey_values))
        row = [draw(position) if name[-2:] in ("_x", "_y") else "5" for name in columns]
        row[columns.index("Image")] = " ".join(values)
        rows.append(row)
    return rows


@st.composite
def files(draw, table):
    """The table as CSV, with or without quotes, BOM and carriage returns."""
    text = io.StringIO()
    quoting, end = draw(quotings), draw(line_ends)
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(table)
    return draw(starts) + text.getvalue().encode()


@st.composite
def damaged(draw, data, count=3):
    """Bytes with up to `count` bits flipped, pieces replaced, put in, taken out or repeated."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, count))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.integers(0, 5))
        if kind == 0 and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            data[at:at] = draw(odd).encode()
        elif kind == 2:
            data[at : at + draw(st.integers(1, 8))] = draw(up_to_4_bytes)
        elif kind == 3:
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == 4:
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            del data[at:]
    return bytes(data)


@tries(200)
@given(data=tables().flatmap(files))
def test_proper_files_load(small, tmp_path, data):
    assert check(tmp_path / "proper.csv", data)


@tries(1000)
@given(data=st.data(), table=tables())
def test_odd_fields(small, tmp_path, data, table):
    for _ in range(data.draw(st.integers(1, 2))):
        row = data.draw(st.sampled_from(table))
        i = data.draw(st.integers(0, len(row) - 1))
        change = data.draw(st.integers(0, 4))
        if change == 0:
            del row[i]
        elif change == 1:
            row.insert(i, data.draw(odd))
        elif row is table[0]:
            row[i] = data.draw(odd_names)
        elif " " in row[i] and change == 2:  # one grey value
            words = row[i].split(" ")
            words[data.draw(st.integers(0, len(words) - 1))] = data.draw(odd)
            row[i] = " ".join(words)
        else:
            row[i] = data.draw(odd_texts)
        if not row:
            row.append("")
    try:
        content = data.draw(files(table))
    except UnicodeEncodeError:  # a lone surrogate cannot be written
        return
    check(tmp_path / "odd.csv", content)


@tries(200)
@given(table=tables(), separator=st.sampled_from(";\t| "), comma=st.booleans())
def test_other_separators_are_named(small, tmp_path, table, separator, comma):
    """As spreadsheets save tables in countries where numbers have a decimal comma."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    for row in table:
        number = [
            w.replace(".", ",") if comma and " " not in w and row is not table[0] else w
            for w in row
        ]
        writer.writerow(number)
    if len(table[0]) == 1:
        return
    path = tmp_path / "separated.csv"
    path.write_text(text.getvalue())
    word = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "blanks"}[separator]
    with pytest.raises(InputError, match=f"separates its columns by {word}"):
        load_faces(path)


@tries(1000)
@given(data=tables().flatmap(files).flatmap(damaged))
@example(data=b"nose_tip_x,nose_tip_y,nose_tip_x,Image\n1,2,3," + b"7 " * 16)
@example(data=b"nose_tip_x,nose_tip_y,Image\nTrue,2," + b"7 " * 16)
@example(data=b"nose_tip_x,nose_tip_y,Image\n1,1,2," + b"7 " * 16 + b"\n1,1,2," + b"7 " * 16)
def test_damaged_bytes(small, tmp_path, data):
    check(tmp_path / "damaged.csv", data)


@pytest.mark.parametrize("ending", ["gz", "zip"])
@tries(200)
@given(data=st.data())
def test_damaged_archives_load_as_they_were_or_not_at_all(small, tmp_path, ending, data):
    content = b"nose_tip_x,nose_tip_y,Image\n" + b"".join(
        b"%d,%.2f,%s\n" % (i, i / 3, b" ".join(b"%d" % (i * j % 256) for j in range(16)))
        for i in range(4)
    )
    packed = io.BytesIO()
    if ending == "gz":
        packed.write(gzip.compress(content, mtime=0))
    else:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", content)
    path = tmp_path / f"faces.csv.{ending}"
    path.write_bytes(data.draw(damaged(packed.getvalue())))
    try:
        faces = load_faces(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    pictures, key_points = reference(content)
    np.testing.assert_array_equal(faces.pictures, pictures)
    np.testing.assert_allclose(faces.key_points, key_points, rtol=1e-6)


# What people do to labels; each of a point's places (N, 2) in pixels.
MISTAKES = [
    *(lambda k: k, lambda k: k[:, ::-1], lambda k: (k + 0.5) / 96, lambda k: k / 48 - 1),
    *(lambda k: k * 0 - 1, lambda k: k * 0, lambda k: k * 0 + 48, lambda k: k * np.nan),
    *(lambda k: k * (1, -1) + (0, 95), lambda k: k * (-1, 1) + (95, 0), lambda k: k * 1.9),
    *(lambda k: k - 47.5, lambda k: k.round(), lambda k: np.roll(k, 1, 0), lambda k: k[:1] + 0 * k),
    lambda k: np.where(np.arange(len(k))[:, None] % 2, k, np.nan),
]
OWN = ("lefteye", "righteye", "Nose", "mouthLeft", "mouthRight", "p6", "left", "r", "👃", "chin")


@tries(150)
@given(
    count=st.integers(1, 14),
    points=st.lists(st.integers(0, 14), min_size=1, max_size=15, unique=True),
    own=st.booleans(),
    mistakes=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(MISTAKES)), max_size=3),
    rows=st.booleans(),
)
def test_labels_with_any_mistakes(count, points, own, mistakes, rows):
    """Looked over in silence: sentences, or an error of one; no warning of NumPy's."""
    rng = np.random.default_rng(count)
    key_points = USUAL + rng.normal(0, 3, (count, 15, 2))
    names = KEY_POINTS
    if own:
        names = tuple(OWN[k % len(OWN)] + "2" * (k // len(OWN)) for k in points)
        key_points = key_points[:, points]
        try:
            mirror_partners(names)
        except ValueError:  # left without right is refused before
            return
    for k, change in mistakes:
        if k == 15:  # all of them
            key_points = np.stack([change(place) for place in key_points.swapaxes(0, 1)], 1)
        elif rows:
            key_points[k % count] = change(key_points[k % count])
        else:
            place = k % key_points.shape[1]
            key_points[:, place] = change(key_points[:, place])
    if not np.isfinite(key_points).any():
        return  # such files are refused before
    pictures = rng.integers(0, 256, (count, 4, 4), np.uint8)
    index = np.arange(count)
    values = pictures, key_points.astype(np.float32), index, None, index, 0 * index, "f.csv"
    faces = Faces(*values, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            said = check_key_points(faces)
    except InputError as error:
        said = [str(error)]
    assert all(
        text.startswith("f.csv: ") and "\n" not in text and "nan" not in text for text in said
    )
