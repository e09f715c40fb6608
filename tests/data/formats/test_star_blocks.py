"""STAR as text: values come back as they are written, and what is ambiguous is refused in one line."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from zoo.data.formats.star_blocks import read_star_blocks, write_star_blocks
from zoo.errors import ZooError

ODD = ["a#b", "#first", "two words", "it's", 'say "x"', "'quoted'", '"', "", "<NA>", "NaN", "None", "1_000",
       "data_x", "loop_", "_name", "O'Brien's map", "tab\there", "00001", "1e5", "\u00e9\u00c5"]  # fmt: skip
HEAD = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n"


def refuses(path, text, *parts):
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    with pytest.raises(ZooError) as error:
        read_star_blocks(path)
    for part in ("x.star", *parts):
        assert part in str(error.value), str(error.value)


def test_every_value_comes_back_as_the_same_text(tmp_path):
    frame = pd.DataFrame(
        {"rlnFirst": ODD, "rlnNumber": [str(i) for i in range(len(ODD))], "rlnLast": ODD[::-1]}
    )
    pairs = {f"rlnKey{i}": value for i, value in enumerate(ODD)}
    write_star_blocks(tmp_path / "x.star", {"particles": frame, "general": pairs})
    blocks, _ = read_star_blocks(tmp_path / "x.star")
    assert {name: column.tolist() for name, column in blocks["particles"].items()} == frame.to_dict("list")
    assert blocks["general"] == pairs


@pytest.mark.parametrize("seed", range(5))
def test_random_text_comes_back(tmp_path, seed):
    rng = np.random.default_rng(seed)
    marks = list("ab1.@/#'\"_ \t<>-")
    values = ["".join(rng.choice(marks, rng.integers(0, 9))) for _ in range(600)]
    # both kinds of quotes before a space: no STAR file can hold these
    values = [text for text in values if not (re.search(r"\"\s", text) and re.search(r"'\s", text))]
    values = values[: len(values) // 3 * 3]
    frame = pd.DataFrame(np.array(values, dtype=object).reshape(-1, 3), columns=["rlnA", "rlnB", "rlnC"])
    write_star_blocks(tmp_path / "x.star", {"x": frame})
    back = read_star_blocks(tmp_path / "x.star")[0]["x"]
    assert back.to_numpy().tolist() == frame.to_numpy().tolist()


def test_values_as_relion_writes_them(tmp_path):
    text = HEAD + "a#1.mrcs 1 # a comment\n\"two words.mrcs\"\t2\n'one #2.mrcs' 3\n# line\n\nO'B.mrcs 4\n"
    (tmp_path / "x.star").write_text(text)
    block = read_star_blocks(tmp_path / "x.star")[0]["particles"]
    assert block["rlnImageName"].tolist() == ["a#1.mrcs", "two words.mrcs", "one #2.mrcs", "O'B.mrcs"]
    assert block["rlnDefocusU"].tolist() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_end_as_on_any_system(tmp_path, end):
    (tmp_path / "x.star").write_bytes((HEAD + "a 1\nb 2\n").replace("\n", end).encode())
    blocks, _ = read_star_blocks(tmp_path / "x.star")
    assert blocks["particles"].to_numpy().tolist() == [["a", "1"], ["b", "2"]]


def test_a_row_may_begin_like_a_block(tmp_path):
    (tmp_path / "x.star").write_text(HEAD + "data_set/a.mrcs 1\nb 2\n")
    assert read_star_blocks(tmp_path / "x.star")[0]["particles"]["rlnImageName"][0] == "data_set/a.mrcs"


def test_what_is_ambiguous_is_refused(tmp_path):
    path = tmp_path / "x.star"
    refuses(path, HEAD + "a 1\n\n" + HEAD + "b 2\n", "line 8", "second block data_particles")
    refuses(path, HEAD + "_rlnImageName #3\na 1 b\n", "rlnImageName twice (columns 1 and 3)")
    refuses(path, "data_g\n\n_rlnA 1\n_rlnA 2\n", "rlnA twice")
    refuses(path, "data_g\n\n_rlnA one two\n", "rlnA has 2 values")
    refuses(path, HEAD + "a 1\nb 2 3 4\nc 5\n", "row 2", "4 values, expected 2", "quotes")
    refuses(path, HEAD + "a 1\nb\n", "row 2", "1 values, expected 2", "cut short")
    refuses(path, HEAD.encode() + b"caf\xe9 1\n", "line 6", "0xe9", "UTF-8")


def test_a_value_with_a_line_break_is_not_written(tmp_path):
    with pytest.raises(ZooError, match="line break"):
        write_star_blocks(tmp_path / "x.star", {"general": {"rlnA": "one\ntwo"}})
    assert not (tmp_path / "x.star").exists()


def test_a_mended_file_is_read_anew(tmp_path):
    path = tmp_path / "x.star"
    refuses(path, HEAD + "a 1.0\nb 2.0\nc 3.0 7 7\n", "row 3")
    path.write_text(HEAD + "a 9.0\nb 9.0\n")
    assert read_star_blocks(path)[0]["particles"]["rlnDefocusU"].tolist() == ["9.0", "9.0"]


@pytest.mark.relion
def test_relion_reads_our_quotes(tmp_path):
    if shutil.which("relion_star_handler") is None:
        pytest.skip("RELION is not installed")
    names = ["a b.mrc", "c#d.mrc", "it's.mrc"]
    optics = pd.DataFrame({"rlnOpticsGroup": ["1"], "rlnOpticsGroupName": ["one"], "rlnVoltage": ["300"],
                           "rlnSphericalAberration": ["2.7"], "rlnMicrographPixelSize": ["1"]})  # fmt: skip
    frame = pd.DataFrame({"rlnMicrographName": names, "rlnDefocusU": ["1.5", "2.5", "3.5"]})
    frame["rlnOpticsGroup"] = "1"
    version = {"version": "# version 30001"}
    write_star_blocks(tmp_path / "x.star", {"optics": optics, "micrographs": frame}, version)
    command = "relion_star_handler --i x.star --o y.star --select rlnDefocusU --minval 2".split()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    back = read_star_blocks(tmp_path / "y.star")[0]["micrographs"]
    assert back["rlnMicrographName"].tolist() == names[1:]
