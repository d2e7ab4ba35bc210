"""Files of odd names are written whole, and odd texts printed."""

import io
import os
import time
import zipfile

import pandas as pd
import pytest

from data.system.files import (
    InputError,
    make_folder,
    printable,
    read_table,
    replace_file,
    write_text,
)

NAMES = [
    *("plain.csv", "b**.png", "[ab].png", "a?.csv", "{x}.json", "two words.csv", "Łódź.png"),
    *("line\nend.png", "é" * 120 + ".png", "c" * 251 + ".csv", ".hidden", "no ending", "%s.csv"),
    os.fsdecode(b"caf\xe9.png"),
]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_any_name_are_replaced_and_leftovers_go(name, tmp_path):
    path = tmp_path / name
    others = {tmp_path / other for other in NAMES if other != name}
    for other in others:
        other.write_text("other")
    for text in ("first", "second"):
        write_text(path, text)
        assert path.read_text() == text
    assert set(tmp_path.iterdir()) == {path, *others}

    temporary = []

    def killed(file):
        file.write_text("half")
        temporary.append(file)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, killed)
    assert not temporary[0].exists() and path.read_text() == "second"
    temporary[0].write_text("left by a kill")
    os.utime(temporary[0], (time.time() - 7200,) * 2)
    write_text(path, "third")
    assert set(tmp_path.iterdir()) == {path, *others} and path.read_text() == "third"


def test_printable_is_one_line_that_utf8_can_hold():
    for name in NAMES:
        text = printable(name)
        assert text.isprintable() and text.encode("utf-8")
    assert printable(os.fsdecode(b"caf\xe9.png")) == r"caf\xe9.png"
    assert printable("line\nend") == r"line\nend" and printable("Łódź.png") == "Łódź.png"


# What an archive holds beside a.csv, and whether the table is still clear.
BESIDE = {
    "nothing": ([], True),
    "macOS": (["__MACOSX/", "__MACOSX/._a.csv", ".DS_Store", "._a.csv"], True),
    "Windows": (["Thumbs.db", "desktop.ini"], True),
    "a folder": (["folder/"], True),
    "notes": (["README.txt", "folder/LICENSE"], True),
    "another table": (["b.csv"], False),
    "one in a folder": (["__MACOSX/._b.csv", "folder/b.CSV"], False),
}


@pytest.mark.parametrize("case", BESIDE)
@pytest.mark.parametrize("folder", ["", "inner/", "__MACOSX_of_mine/"])
def test_the_one_table_of_an_archive_is_found(case, folder, tmp_path):
    beside, clear = BESIDE[case]
    path = tmp_path / "a.ZIP"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in [*beside, f"{folder}a.csv"]:
            archive.writestr(name, "" if name[-1] == "/" else "a,b\n1,2\n")
    path.write_bytes(packed.getvalue())
    if clear:
        assert pd.concat(read_table(path)).to_dict("list") == {"a": ["1"], "b": ["2"]}
        return
    with pytest.raises(InputError, match="holds .*b.*must hold one CSV") as caught:
        list(read_table(path))
    assert "download" not in str(caught.value)


def test_a_file_in_a_folders_place_is_said(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(InputError, match="it is a file, not a folder"):
        make_folder(tmp_path / "results")
