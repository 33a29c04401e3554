# SPDX-License-Identifier: Apache-2.0
"""What encoding a text is in: by its mark, as UTF-8, as the user says, or as it looks."""

import re

from voxadapt.recipes.corpora.errors import DataError

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHERS = {
    "gb18030": "Chinese, also GBK",
    "big5": "Chinese, traditional",
    "shift_jis": "Japanese",
    "euc_kr": "Korean",
    "cp1251": "Cyrillic",
    "cp1252": "Western European",
}


def is_encoding(name: str) -> bool:
    """Tell whether Python can decode text by that name."""
    try:
        b"ab".decode(name)
    except UnicodeDecodeError:
        return True  # it is known, and these bytes are none of it
    except (LookupError, ValueError):
        return False
    return True


def decode(content: bytes, otherwise: str = "cp1252") -> tuple[str, str]:
    """Decode text by its byte order mark; else as UTF-8; else as Windows-1252, or another.

    Args:
        content: The text's bytes.
        otherwise: The encoding of text that is not UTF-8.

    Returns:
        The text, and the encoding's name where it is not UTF-8.
    """
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            name = "" if encoding == "utf-8-sig" else "UTF-16"
            return content.decode(encoding, "replace"), name
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError:
        name = "Windows-1252" if otherwise == "cp1252" else otherwise
        return content.decode(otherwise, "replace"), f"{name} (it is not UTF-8)"


def decode_table(content: bytes, name: str, encoding: str | None) -> tuple[str, str]:
    """Decode a table of which nothing is known, as the user says or as `decode` does.

    Args:
        content: The table's bytes.
        name: What it is called in an error.
        encoding: What the user says; None finds out.

    Returns:
        The text, and the encoding's name where it was neither UTF-8 nor said.

    Raises:
        DataError: It is not in the encoding that the user says; or nobody says one, it is not
            UTF-8, and it does not look like Windows-1252.
    """
    if encoding is not None:
        try:
            return content.decode(encoding).removeprefix("\ufeff"), ""
        except UnicodeDecodeError as error:
            line = 1 + content.count(b"\n", 0, error.start)
            raise DataError(
                f"{name}, line {line}: is not {encoding} (byte 0x{content[error.start]:02x}); name "
                "another by --encoding, or leave it out for UTF-8."
            ) from None
    text, found = decode(content)
    if found.startswith("Windows-1252") and not _looks_western(content):
        first = re.search(rb"[\x80-\xff]", content)
        line = 1 + content.count(b"\n", 0, first.start() if first else 0)
        raise DataError(
            f"{name} is not UTF-8, and its encoding cannot be told for sure; save it as UTF-8, or "
            f"name its encoding by --encoding. A field of line {line} could be:",
            _readings(_sample(content)),
        )
    return text, found


def _looks_western(content: bytes) -> bool:
    """Whether most accented letters stand alone among plain ones, as in fröhlich.

    Text in other scripts has its bytes above 127 side by side: two or more for each sign of
    Chinese, Japanese or Korean, one for each letter of Cyrillic or Greek.
    """
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", content)]
    return 2 * runs.count(1) >= len(runs)


def _sample(content: bytes) -> bytes:
    """The first field that is not plain ASCII."""
    return next(
        field.strip() for field in re.split(rb"[\r\n,;\t|\"]", content) if not field.isascii()
    )


def _readings(sample: bytes) -> list[str]:
    found = []
    for encoding, script in _OTHERS.items():
        try:
            found.append(f"{sample.decode(encoding)}  --encoding {encoding} ({script})")
        except UnicodeDecodeError:
            continue
    return found
