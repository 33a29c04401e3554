# SPDX-License-Identifier: Apache-2.0
import io
import pickle
import tarfile

import pytest

from voxadapt.recipes.corpora.tar_member import TarMember


def write_tar(path, members, form=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def members_of(path):
    with tarfile.open(path, "r:") as archive:
        return {
            info.name: TarMember(str(path), info.name, info.offset_data, info.size, info.chksum)
            for info in archive
        }


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_by_their_place(tmp_path, form):
    contents = {"a.wav": b"1" * 700, "x/b.wav": b"", "c.wav": bytes(512), "d" * 90: b"d"}
    if form != tarfile.USTAR_FORMAT:
        contents["long/" * 60 + "ä.wav"] = b"long"
    members = members_of(write_tar(tmp_path / "t.tar", contents, form))
    assert {name: member.read() for name, member in members.items()} == contents
    member = members["a.wav"]
    assert member.name == f"{tmp_path / 't.tar'}:a.wav"
    assert pickle.loads(pickle.dumps(member)) == member
    places = [member.order for member in members.values()]
    assert places == sorted(places)


@pytest.mark.parametrize("change", ["shorter", "renamed", "moved", "cut"])
def test_a_file_that_is_another_one_by_now(tmp_path, change):
    contents = {"a.wav": b"1" * 700, "b.wav": b"2" * 700}
    path = write_tar(tmp_path / "t.tar", contents)
    member = members_of(path)["b.wav"]
    if change == "cut":
        path.write_bytes(path.read_bytes()[: member.offset + 100])
    else:
        others = {
            "shorter": {"a.wav": b"1" * 700, "b.wav": b"2" * 699},
            "renamed": {"a.wav": b"1" * 700, "c.wav": b"2" * 700},
            "moved": {"a.wav": b"1" * 1_700, "b.wav": b"2" * 700},
        }
        write_tar(path, others[change])
    with pytest.raises(OSError, match=r"no longer has b\.wav where it was"):
        member.read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        member.read()
