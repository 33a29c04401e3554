# SPDX-License-Identifier: Apache-2.0
import pytest

from voxadapt.recipes.corpora.errors import DataError
from voxadapt.recipes.corpora.intake.text_encoding import decode_table, is_encoding


@pytest.mark.parametrize("text", ["a.wav,fröhlich", "a.wav,Jääskeläinen", "a.wav,“très gai” – 5 €"])
def test_text_whose_accents_stand_alone_is_western(text: str) -> None:
    found = decode_table(text.encode("cp1252"), "t.csv", None)
    assert found == (text, "Windows-1252 (it is not UTF-8)")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("高兴", "gb18030"),
        ("乐", "gb18030"),
        ("高興", "big5"),
        ("喜び", "shift_jis"),
        ("タロウ", "shift_jis"),
        ("기쁨", "euc_kr"),
        ("радость", "cp1251"),
        ("créée", "cp1252"),
    ],
)
def test_text_that_may_be_anything_is_refused_with_what_it_could_be(
    text: str, encoding: str
) -> None:
    content = f"path,emotion\r\na.wav,sad\r\nb.wav,{text}\r\n".encode(encoding)
    with pytest.raises(DataError, match=r"t\.csv is not UTF-8.*A field of line 3 could") as refused:
        decode_table(content, "t.csv", None)
    assert any(
        problem.startswith(f"{text}  --encoding {encoding} (") for problem in refused.value.problems
    )
    decoded, how = decode_table(content, "t.csv", encoding)
    assert (decoded.splitlines()[2], how) == (f"b.wav,{text}", "")


def test_what_the_user_says_must_fit_and_a_mark_is_no_text() -> None:
    with pytest.raises(DataError, match=r"t\.csv, line 2: is not utf-8 \(byte 0xb8\); name"):
        decode_table("a\n高".encode("gbk"), "t.csv", "utf-8")
    assert decode_table("path".encode("utf-8-sig"), "t.csv", "utf-8") == ("path", "")


def test_names_of_encodings() -> None:
    assert all(map(is_encoding, ("gbk", "GB18030", "utf-8", "cp936")))
    assert not any(map(is_encoding, ("gbkk", "base64", "", "a\0b")))
