"""face_key_points.py --image for many photos: rows appended, runs resumed, lists of photos."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image
from stand_ins import photos_in, run, stand_in_detect, stand_in_model

from data.images import photos as photo_files
from data.images.photos import list_photos
from data.key_points import KEY_POINTS
from data.system import paths as many_paths
from data.system.addresses import address_of
from data.system.files import InputError
from data.system.lock import locked
from models.storage import Landmarker
from results import photos as photos_module
from results.batch import answers as answers_module
from results.batch.journal import Journal
from results.batch.table import CsvTable, ParquetTable

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import many_photos  # noqa: E402


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(photos_module, "load_for_photos", stand_in_model)
    monkeypatch.setattr(photos_module, "detect", stand_in_detect)


def stop_after(monkeypatch, count, trouble=KeyboardInterrupt):
    """Let the search raise `trouble` at the photo after so many."""
    left = iter(range(count))

    def detect(*arguments):
        if next(left, None) is None:
            raise trouble
        return stand_in_detect(*arguments)

    monkeypatch.setattr(photos_module, "detect", detect)


# --- the table -----------------------------------------------------------------------------------


def test_rows_are_whole_lines_in_the_file_after_each_append(tmp_path):
    table = CsvTable(tmp_path / "t.csv", ["a", "b"])
    table.begin()
    for i in range(3):
        table.append([[f"x,{i}", 1.5], ["y", None]])
        assert (tmp_path / "t.csv").read_bytes().count(b"\n") == 3 + 2 * i
    table.close()
    assert pd.read_csv(tmp_path / "t.csv").a.tolist() == ["x,0", "y", "x,1", "y", "x,2", "y"]


def test_a_torn_line_is_cut_off_by_the_next_run(tmp_path):
    path = tmp_path / "t.csv"
    table = CsvTable(path, ["a", "b"])
    table.begin()
    table.append([[1, 2]])
    end = table.end
    table.append([[3, 4]])
    table.close()
    with open(path, "ab") as file:
        file.write(b"5,")
    table.go_on(end, 1)
    table.append([[6, 7]])
    table.close()
    assert path.read_text() == "a,b\n1,2\n6,7\n"
    with pytest.raises(InputError, match="start again, without --resume"):
        CsvTable(path, ["a", "other"]).go_on(end, 1)
    with pytest.raises(InputError, match="start again, without --resume"):
        table.go_on(1000, 1)
    with pytest.raises(InputError, match="was changed or replaced"):
        table.go_on(end - 2, 1)  # as in a table that somebody has edited
    assert path.read_text() == "a,b\n1,2\n6,7\n"


def test_a_full_disk_leaves_whole_rows_and_is_one_sentence(tmp_path):
    """A limit on the size of files stands in for the disk: the second write is cut short."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from data.system.files import InputError
from results.batch.table import CsvTable, ParquetTable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
table = CsvTable(Path({str(tmp_path / "t.csv")!r}), ["a", "b"])
table.begin()
table.append([["1" * 50, "2"]])
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    table.append([["3" * 50, "4"]])
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "cannot be written" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    assert (tmp_path / "t.csv").read_text() == f"a,b\n{'1' * 50},2\n"


def test_an_earlier_table_stays_until_the_first_photo_is_done(stand_in, tmp_path, monkeypatch):
    photos_in(tmp_path / "p", 3)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "key_points.csv").write_text("earlier")
    stop_after(monkeypatch, 0)
    assert run("--image", tmp_path / "p", "--results", tmp_path / "r") == 130
    assert [file.name for file in (tmp_path / "r").iterdir()] == ["key_points.csv"]
    assert (tmp_path / "r" / "key_points.csv").read_text() == "earlier"


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16])
def test_parquet_holds_what_the_csv_holds_however_it_was_stopped(
    count, stand_in, tmp_path, monkeypatch
):
    pytest.importorskip("pyarrow", reason="an extra that writes Parquet")
    monkeypatch.setattr(ParquetTable, "PART", 8)
    photos_in(tmp_path / "p", 19)
    flags = "--image", tmp_path / "p", "--no-pictures", "--results", tmp_path / "r"
    assert run(*flags) == 0
    if count:
        stop_after(monkeypatch, count)
        assert run(*flags, "--table", "t.parquet") == 130
        read = pd.read_parquet(tmp_path / "r" / "t.parquet")
        assert len(read) == sum(i % 4 for i in range(count))
        stop_after(monkeypatch, 19 - count)
    assert run(*flags, "--table", "t.parquet", "--resume") == 0
    parts = [f"part-{i:05}.parquet" for i in range(3)]
    folder = tmp_path / "r" / "t.parquet"
    assert sorted(p.name for p in folder.iterdir()) == [".part-00002.csv", *parts]
    whole = pd.read_parquet(folder)
    expected = pd.read_csv(tmp_path / "r" / "key_points.csv")
    pd.testing.assert_frame_equal(whole, expected, check_dtype=False, check_exact=True)
    photos_in(tmp_path / "p", 2, start=19)  # the last part is completed
    stop_after(monkeypatch, 2)
    assert run(*flags, "--table", "t.parquet", "--resume") == 0
    assert pd.read_parquet(folder / parts[2]).photo.nunique() == 3


def test_a_table_of_another_kind_is_refused_in_a_sentence(stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 2)
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r"
    with pytest.raises(SystemExit):
        run(*flags, "--table", "t.xlsx")
    assert "t.xlsx does not end in .csv or .parquet" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run(*flags, "--table", "t.parquet") == 2
    assert "needs pyarrow: pip install pyarrow" in capsys.readouterr().err
    assert run(*flags, "--table", "t.csv") == 0
    assert len(pd.read_csv(tmp_path / "r" / "t.csv")) == 1


# --- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_stopped_run_is_resumed_to_the_same_table(count, stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 10)
    flags = "--image", tmp_path / "p", "--results"
    assert run(*flags, tmp_path / "whole") == 0
    stop_after(monkeypatch, count)
    assert run(*flags, tmp_path / "r") == 130
    assert "give the same command with --resume" in capsys.readouterr().err
    table = tmp_path / "r" / "key_points.csv"
    with open(table, "ab") as file:  # as a kill in the middle of a write leaves it
        file.write(b"a torn li")
    stop_after(monkeypatch, 10 - count)  # more would be photos that were looked at before
    assert run(*flags, tmp_path / "r", "--resume") == 0
    assert f"holds {count} photos already" in capsys.readouterr().out
    assert table.read_bytes() == (tmp_path / "whole" / "key_points.csv").read_bytes()
    stop_after(monkeypatch, 0)  # nothing is left to look at
    assert run(*flags, tmp_path / "r", "--resume") == 0
    assert table.read_bytes() == (tmp_path / "whole" / "key_points.csv").read_bytes()


def test_a_run_killed_before_its_first_photo_was_noted_is_resumed(stand_in, tmp_path):
    photos_in(tmp_path / "p", 3)
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r", "--resume"
    assert run(*flags) == 0
    table, journal = (tmp_path / "r" / name for name in ("key_points.csv", ".key_points.csv.done"))
    whole = table.read_bytes()
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    assert run(*flags) == 0
    assert table.read_bytes() == whole


def test_a_run_killed_at_random_moments_is_resumed_to_the_same_table(tmp_path, capsys):
    many_photos.kills(tmp_path, photos=150, times=2, numbers=(1,))
    assert "killed 2 times" in capsys.readouterr().out


def test_new_photos_and_those_that_failed_are_looked_at(stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 3)
    (tmp_path / "p" / "broken.png").write_bytes(b"nothing")
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r", "--resume"
    assert run(*flags) == 2
    assert "is not of a run that can be resumed" in capsys.readouterr().out
    Image.new("L", (8, 8), 2).save(tmp_path / "p" / "broken.png")
    photos_in(tmp_path / "p", 2, start=3)
    stop_after(monkeypatch, 3)
    assert run(*flags) == 0
    names = pd.read_csv(tmp_path / "r" / "key_points.csv").photo.map(os.path.basename)
    assert sorted(set(names)) == ["00001.png", "00002.png", "00003.png", "broken.png"]
    assert len(names) == 1 + 2 + 3 + 2


def change_photos(folder):
    """Other faces, none any more, a broken file, and one that was there already."""
    Image.new("L", (9, 9), 3).save(folder / "00001.png")
    Image.new("L", (9, 9), 4).save(folder / "00002.png")
    (folder / "00003.png").write_bytes(b"nothing")
    os.utime(folder / "00005.png", (1, 1))
    photos_in(folder, 2, start=20)


@pytest.fixture(params=["t.csv", "t.parquet"])
def stopped_run(request, stand_in, tmp_path, monkeypatch):
    """The flags of a run that was stopped after seven photos, of which some have changed since."""
    if request.param == "t.parquet":
        pytest.importorskip("pyarrow", reason="an extra that writes Parquet")
        monkeypatch.setattr(ParquetTable, "PART", 3)
    folder = photos_in(tmp_path / "p", 9)
    Image.new("L", (8, 8), 3).save(folder / "broken.png")
    (folder / "00000.png").write_bytes(b"nothing")
    flags = "--image", folder, "--no-pictures", "--table", request.param, "--results"
    stop_after(monkeypatch, 6)
    assert run(*flags, tmp_path / "r") == 130
    change_photos(folder)
    Image.new("L", (8, 8), 2).save(folder / "00000.png")
    monkeypatch.setattr(photos_module, "detect", stand_in_detect)
    assert run(*flags, tmp_path / "whole") == 2
    return flags


def same_tables(flags, folder):
    """Assert that the resumed run's table is that of the unbroken one, and nothing else is left."""
    name = flags[-2]
    one, other = (folder / r / name for r in ("whole", "r"))
    if one.is_dir():
        assert [p.name for p in one.iterdir()] == [p.name for p in other.iterdir()]
        pd.testing.assert_frame_equal(pd.read_parquet(one), pd.read_parquet(other))
    else:
        assert one.read_bytes() == other.read_bytes()
    assert sorted(os.listdir(folder / "r")) == sorted([f".{name}.done", name, "summary.json"])
    summaries = [json.loads((folder / r / "summary.json").read_text()) for r in ("whole", "r")]
    for count in ("photos_in_table", "faces", "photos_without_face", "photos_failed"):
        assert summaries[0][count] == summaries[1][count]


def test_a_photo_that_has_changed_is_looked_at_again(stopped_run, tmp_path, monkeypatch):
    stop_after(monkeypatch, 9)  # five of eleven are known, one is broken: more would be too many
    assert run(*stopped_run, tmp_path / "r", "--resume") == 2
    same_tables(stopped_run, tmp_path)
    stop_after(monkeypatch, 0)
    assert run(*stopped_run, tmp_path / "r", "--resume") == 2
    same_tables(stopped_run, tmp_path)


def test_rows_of_changed_photos_go_when_the_run_is_stopped(stopped_run, tmp_path, monkeypatch):
    stop_after(monkeypatch, 3)
    assert run(*stopped_run, tmp_path / "r", "--resume") == 130
    path = tmp_path / "r" / stopped_run[-2]
    table = pd.read_parquet(path) if path.is_dir() else pd.read_csv(path)
    assert not table.duplicated(["photo", "face"]).any()
    stop_after(monkeypatch, 6)
    assert run(*stopped_run, tmp_path / "r", "--resume") == 2
    same_tables(stopped_run, tmp_path)


@pytest.mark.parametrize("written", ["..new.{}.done", ".{}.ready", "{}", ".{}.done"])
def test_a_kill_while_rows_are_put_in_order_loses_nothing(
    written, stopped_run, tmp_path, monkeypatch
):
    """An error stands in for the kill, before each of the files gets its name."""
    replace, name = os.replace, written.format(stopped_run[-2])

    def replace_or_fail(source, target):
        if Path(target).name == name:
            raise RuntimeError
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_fail)
        with pytest.raises(RuntimeError):
            run(*stopped_run, tmp_path / "r", "--resume")
    assert run(*stopped_run, tmp_path / "r", "--resume") == 2
    same_tables(stopped_run, tmp_path)


def test_another_model_or_setting_is_not_resumed(stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 3)
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r", "--resume"
    assert run(*flags) == 0
    before = (tmp_path / "r" / "key_points.csv").read_bytes()
    assert run(*flags, "--no-mirror") == 2
    assert "with --mirror True, not False; resume with the same" in capsys.readouterr().err
    other = Landmarker(None, {"key_points": KEY_POINTS, "weights_sha256": "b"}, Path("m.keras"))
    monkeypatch.setattr(photos_module, "load_for_photos", lambda path: other)
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert "of a run with other model;" in error and error.count("\n") == 1
    assert (tmp_path / "r" / "key_points.csv").read_bytes() == before


def test_a_long_run_that_was_stopped_is_not_replaced_by_mistake(
    stand_in, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(answers_module, "PRECIOUS", 5)
    photos_in(tmp_path / "p", 8)
    flags = "--image", tmp_path / "p", "--results", tmp_path / "r"
    for count, status in ((4, 130), (5, 130), (8, 2)):
        stop_after(monkeypatch, count)
        assert run(*flags) == status
    assert "go on with it by --resume, or delete it" in capsys.readouterr().err
    assert run(*flags, "--resume") == 0
    stop_after(monkeypatch, 8)
    assert run(*flags) == 0  # it came to its end


def test_two_runs_into_one_folder_are_refused(stand_in, tmp_path, capsys):
    photos_in(tmp_path / "p", 2)
    table = tmp_path / "r" / "key_points.csv"
    table.parent.mkdir()
    with locked(table, "the table", "wait"):
        assert run("--image", tmp_path / "p", "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert f"{table} is being written by process {os.getpid()}" in error
    assert not table.exists()


def test_a_journal_shorter_or_longer_than_its_table_counts_as_far_as_both_go(tmp_path):
    journal = Journal(tmp_path / "t.csv", {"model": "a"})
    journal.begin()
    for i in range(5):
        journal.add(f"/p/{i}", 100, 200, i, 10 * (i + 1))
    journal.close()
    with open(journal.path, "ab") as file:
        file.write(b'["/p/5", 1')
    done = journal.go_on(1000)
    assert (done.photos, done.faces, done.without_face, done.end) == (5, 10, 1, 50)
    assert not done.finished
    journal.close()
    done = journal.go_on(39)  # a power failure took the rest
    assert (done.photos, done.end) == (3, 30)
    journal.close()
    assert len(journal.path.read_bytes().splitlines()) == 4


def test_the_last_line_and_summary_json_say_how_much_was_done(
    stand_in, tmp_path, monkeypatch, capsys
):
    photos_in(tmp_path / "p", 8)
    (tmp_path / "p" / "broken.png").write_bytes(b"nothing")
    flags = "--image", tmp_path / "p", "--no-pictures", "--results", tmp_path / "r"
    stop_after(monkeypatch, 5)
    assert run(*flags) == 130
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert not summary["finished"] and summary["photos_in_table"] == 5
    stop_after(monkeypatch, 8)
    assert run(*flags, "--resume") == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("9 photos: 12 face(s), 2 photos without a face, 1 failed; ")
    assert last.endswith(" per core")
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["finished"] and summary["photos_in_this_run"] == 4
    rate = summary["photos_in_this_run"] / max(summary["seconds"], 0.05)
    assert summary["photos_per_second"] == summary["photos_per_second_per_core"] > rate / 3
    assert not list((tmp_path / "r").glob("*.png"))


def test_three_photos_are_done_as_ever(stand_in, tmp_path, capsys):
    photos_in(tmp_path / "p", 3, start=1)
    assert run("--image", tmp_path / "p", "--results", tmp_path / "r") == 0
    written = sorted(file.name for file in (tmp_path / "r").iterdir())
    assert written == [*(f"0000{i}_key_points.png" for i in (1, 2, 3)), "key_points.csv"]
    table = tmp_path / "r" / "key_points.csv"
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and said[-1] == f"6 face(s) in all; key points are in {table}"


# --- listing -------------------------------------------------------------------------------------


def test_a_list_of_paths_is_taken(stand_in, tmp_path, monkeypatch, capsys):
    photos_in(tmp_path / "p", 4)
    names = [str(tmp_path / "p" / f"{i:05}.png") for i in (3, 1, 3)]
    (tmp_path / "list.txt").write_text("\n".join([*names, "", str(tmp_path / "missing.png")]))
    flags = "--results", tmp_path / "r"
    assert run("--image", tmp_path / "list.txt", *flags) == 2
    assert "missing.png" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    assert table.photo.tolist() == [names[0]] * 3 + [names[1]]

    class Stdin:
        buffer = open(tmp_path / "list.txt", "rb")  # noqa: SIM115  closed below

    monkeypatch.setattr(sys, "stdin", Stdin)
    with Stdin.buffer:
        assert len(list_photos([Path("-")])) == 3
    (tmp_path / "list.txt").write_text("\0".join([*names, "with\nline.png"]))
    assert [*list_photos([tmp_path / "list.txt"])][-1] == Path("with\nline.png")
    (tmp_path / "list.txt").write_text("\n\n")
    assert run("--image", tmp_path / "list.txt", *flags) == 2
    assert "holds no paths of photos" in capsys.readouterr().err


def test_photos_at_addresses_are_read(stand_in, tmp_path, monkeypatch, capsys):
    fsspec = pytest.importorskip("fsspec", reason="an extra that reads s3:// and the like")
    photos_in(tmp_path / "p", 3, start=1)
    for file in (tmp_path / "p").iterdir():
        with fsspec.open(f"memory://bucket/{file.name}", "wb") as copy:
            copy.write(file.read_bytes())
    with fsspec.open("memory://bucket/broken.png", "wb") as copy:
        copy.write(b"nothing")
    names = [f"memory://bucket/{n}.png" for n in ("00001", "missing", "broken", "00003")]
    (tmp_path / "list.txt").write_text("\n".join(names))
    flags = "--image", tmp_path / "list.txt", "--results", tmp_path / "r", "--resume"
    stop_after(monkeypatch, 2)
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert f"{names[1]} cannot be read" in error
    assert f"{names[2]} is empty or not a picture" in error
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    assert table.photo.tolist() == [names[0]] + [names[3]] * 3
    assert run(*flags) == 2  # those that were read are not looked at again
    assert "2 of 4 photos could not" in capsys.readouterr().err
    assert (tmp_path / "r" / "00003_key_points.png").exists()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert run("--image", tmp_path / "list.txt", "--results", tmp_path / "r2") == 2
    assert f"{names[0]} needs fsspec" in capsys.readouterr().err
    assert address_of(Path("C:/a.png")) is address_of(Path("/p/a.png")) is None


def test_a_large_folder_is_begun_before_all_of_it_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(many_paths, "BLOCK", 10)
    photos_in(tmp_path / "p", 60)
    (tmp_path / "p" / "00025.txt").write_text("not a picture")
    looked = []
    check = photo_files.is_own_output
    monkeypatch.setattr(photo_files, "is_own_output", lambda p: looked.append(p) or check(p))
    photos = list_photos([tmp_path / "p"])
    assert len(looked) == 11  # and one to know that there is a photo
    assert "skipped" not in capsys.readouterr().out
    assert [path.name for path in photos] == [f"{i:05}.png" for i in range(60)]
    assert len(photos) == 60
    assert "00025.txt is not a picture: skipped." in capsys.readouterr().out


def test_a_photo_is_listed_once(tmp_path):
    photos_in(tmp_path / "p", 3)
    (tmp_path / "p" / "link.png").symlink_to("00001.png")
    (tmp_path / "other").symlink_to("p")
    some = [tmp_path / "other" / "00002.png", tmp_path / "p", tmp_path / "p" / "00000.png"]
    names = [path.relative_to(tmp_path).as_posix() for path in list_photos(some)]
    assert names == ["other/00002.png", "p/00000.png", "p/00001.png"]
