"""Which pictures there are, what they are called, and the guard against files that claim to be huge."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from prediction_tools import photographs

from scratchfcn.data import DataError
from scratchfcn.prediction import ImageFiles
from scratchfcn.prediction.sources import read_photograph


def test_a_folder_s_images_in_counting_order_under_their_stems(tmp_path) -> None:
    photographs(tmp_path, 11)
    source = ImageFiles.open(tmp_path)
    assert source.names == [str(i) for i in range(11)]
    found = {i: read().shape for i, read in source.read([2, 10])}
    assert found == {2: (30, 40, 3), 10: (30, 40, 3)}


def test_sub_folders_are_mirrored_in_names(tmp_path) -> None:
    photographs(tmp_path, 1)
    photographs(tmp_path / "b" / "deep", 2)
    photographs(tmp_path / "a", 1)
    photographs(tmp_path / ".hidden", 1)
    photographs(tmp_path / "out", 1)
    (tmp_path / "empty").mkdir()
    Image.open(tmp_path / "a" / "0.png").save(tmp_path / "a" / "0.jpg")
    source = ImageFiles.open(tmp_path, recursive=True, outputs=tmp_path / "out")
    assert source.names == ["0", "a/0.jpg", "a/0.png", "b/deep/0", "b/deep/1"]
    assert ImageFiles.open(tmp_path).names == ["0"]


def test_a_folder_without_images_says_where_some_are(tmp_path) -> None:
    photographs(tmp_path / "below", 1)
    with pytest.raises(DataError, match="--recursive"):
        ImageFiles.open(tmp_path)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        ImageFiles.open(tmp_path / "bare")
    with pytest.raises(DataError, match="neither"):
        ImageFiles.open(tmp_path / "bare", recursive=True)
    with pytest.raises(DataError, match="no such file or folder"):
        ImageFiles.open(tmp_path / "nowhere")


def test_files_that_a_run_wrote_can_be_passed_over(tmp_path) -> None:
    photographs(tmp_path, 3)
    source = ImageFiles.open(tmp_path).without({tmp_path / "1.png"})
    assert source.names == ["0", "2"]
    assert [path.name for path in source.files] == ["0.png", "2.png"]


def claims(path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header says how large it is; its pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))


def test_a_picture_of_too_many_pixels_is_read_only_when_asked_for(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(tmp_path / "large.png")
    with pytest.raises(DataError, match="--large"):
        read_photograph(tmp_path / "large.png")
    assert read_photograph(tmp_path / "large.png", large=True).shape == (60, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.filterwarnings("error")
def test_a_merely_large_picture_is_read_without_a_warning(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "medium.png")
    assert read_photograph(tmp_path / "medium.png").shape == (40, 40, 3)


def test_a_small_file_that_claims_to_be_huge_is_refused_at_once(tmp_path) -> None:
    claims(tmp_path / "bomb.png", 60_000, 60_000)
    with pytest.raises(DataError, match="178 million pixels, which a harmful file may only claim"):
        read_photograph(tmp_path / "bomb.png")


def test_a_damaged_picture_says_so_as_ever(tmp_path) -> None:
    claims(tmp_path / "cut.png", 50, 50)
    with pytest.raises(DataError, match="damaged"):
        read_photograph(tmp_path / "cut.png")
