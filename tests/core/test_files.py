"""Atomic writes, and the permissions of the files."""

import errno
import os
import stat

import pytest

from mdn_cupy.files import replacing


@pytest.fixture
def umask_untouched(monkeypatch):
    """The umask belongs to the process: for a moment, what other threads create would have it."""
    really_set = os.umask

    def refuse(mask):
        raise AssertionError(f"the umask is set to {mask:o}")

    monkeypatch.setattr(os, "umask", refuse)
    return really_set


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o007, 0])
def test_a_new_file_has_the_permissions_that_open_gives(umask_untouched, tmp_path, mask):
    before = umask_untouched(mask)
    try:
        with replacing(tmp_path / "a") as file:
            file.write(b"x")
        (tmp_path / "b").touch()
    finally:
        umask_untouched(before)
    assert permissions(tmp_path / "a") == permissions(tmp_path / "b") == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755, 0o400])
def test_a_replaced_file_keeps_its_permissions(umask_untouched, tmp_path, mode):
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    with replacing(path) as file:
        (beside,) = (other for other in tmp_path.iterdir() if other != path)
        assert permissions(beside) & ~mode == 0  # no other user can read it meanwhile
        file.write(b"x")
    assert permissions(path) == mode
    assert path.read_bytes() == b"x"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "no space")])
def test_what_ends_in_the_middle_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"precious")

    def half():
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        half()
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)
