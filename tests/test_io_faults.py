"""Files that are easily taken for others: recorded orders, joined archives, permissions, full disks and symlinks."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.atomic import TEMPORARY, atomic_folder, atomic_write, remove_leftovers
from convmatrix.cli import main
from tests.cases import for_each

GEOMETRY = cm.ConvGeometry((3, 4), (2, 2), in_channels=2, out_channels=3)
KERNEL = np.arange(24.0).reshape(3, 2, 2, 2)
OTHER = cm.ConvGeometry((5, 6), (2, 2))


@for_each("suffix", [".npz", ".mtx", ".mat"])
def test_files_record_the_order(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"A{suffix}"
    A = cm.conv_matrix(KERNEL, GEOMETRY, order="F")
    cm.io.save(path, A, GEOMETRY, order="F")
    B, geometry = cm.io.load(path, order="F")
    assert geometry == GEOMETRY
    assert (A != B).nnz == 0
    with pytest.raises(ValueError, match=r"order='F', not 'C'; give order='F'"):
        cm.io.load(path)
    cm.io.save(path, cm.conv_matrix(KERNEL, GEOMETRY), GEOMETRY)
    with pytest.raises(ValueError, match=r"order='C', not 'F'"):
        cm.io.load(path, order="F")
    cm.io.save(path, A)  # without a layer, nothing is recorded
    assert cm.io.load(path, order="F")[1] is None
    with pytest.raises(ValueError, match="order"):
        cm.io.save(path, A, GEOMETRY, order="G")


def test_commands_record_and_read_the_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "A.npz")
    layer = ["--kernel", "[[1,2],[3,4]]", "--input-shape", "3x3"]
    assert main(["matrix", *layer, "--order", "F", "-o", path]) == 0
    capsys.readouterr()
    assert main(["show", path, "--weights"]) == 0
    shown = capsys.readouterr().out
    assert main(["show", *layer, "--order", "F", "--weights"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["show", path, "--order", "C"]) == 2
    assert "records --order F" in capsys.readouterr().err


def test_an_unknown_order_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "A.mtx"
    cm.io.save(path, cm.conv_matrix(KERNEL, GEOMETRY, order="F"), GEOMETRY, order="F")
    path.write_text(path.read_text().replace('"order": "F"', '"order": "G"'))
    with pytest.raises(ValueError, match=r"checksum|order='G'"):
        cm.io.load(path)


def test_joined_archives_are_refused(tmp_path: Path) -> None:
    parts = []
    for geometry in (GEOMETRY, OTHER):
        file = io.BytesIO()
        cm.io.save(file, geometry.pattern().matrix(np.ones(geometry.n_weights)), geometry, format="npz")
        parts.append(file.getvalue())
    path = tmp_path / "A.npz"
    for contents in (parts[0] + parts[1], b"text" + parts[0], parts[0] + b"text", parts[0] + parts[1][:500]):
        path.write_bytes(contents)
        with pytest.raises(cm.io.FileFormatError):
            cm.io.load(path)
    path.write_bytes(parts[1])
    assert cm.io.load(path)[1] == OTHER


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_temporary_files_are_as_private_as_the_target(tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    before = os.umask(0o022)
    try:
        for mode, existing in ((0o644, False), (0o600, True), (0o664, True)):
            if existing:
                path.touch()
                path.chmod(mode)
            with atomic_write(path) as file:
                file.write(b"secret")
                (temporary,) = tmp_path.glob(TEMPORARY)
                assert stat.S_IMODE(temporary.stat().st_mode) & ~mode == 0
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="ends a process at once")
def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with atomic_write(tmp_path / "A.npz") as file, atomic_folder(tmp_path / "B") as folder:
            file.write(b"a part")
            (folder / "part").touch()
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.glob(TEMPORARY))) == 2
    with atomic_write(tmp_path / "A.npz") as file:
        file.write(b"whole")
    with atomic_folder(tmp_path / "B") as folder:
        (folder / "whole").touch()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["A.npz", "B", "B/whole"]
    with pytest.raises(FileExistsError, match=r"B: it exists"), atomic_folder(tmp_path / "B"):
        pass
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "C") as folder:
        raise RuntimeError
    assert not list(tmp_path.glob(TEMPORARY))


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_second_writer_does_not_disturb_the_first(tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    with atomic_write(path) as first:
        first.write(b"first")
        with atomic_write(path) as second:
            second.write(b"second")
            remove_leftovers(tmp_path)
            assert len(list(tmp_path.glob(TEMPORARY))) == 2
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["A.npz"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "A.npz"
    path.write_bytes(b"before")
    with pytest.raises(OSError, match=r"cannot save .*A\.npz: .*unchanged") as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    assert [file.name for file in tmp_path.iterdir()] == ["A.npz"]
    assert path.read_bytes() == b"before"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of a file as Linux does")
def test_a_file_that_grows_too_large_names_itself(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nimport numpy as np\nimport convmatrix as cm\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "A = cm.conv_matrix(np.random.default_rng(0).random((9, 9)), (40, 40))\n"
        "try:\n    cm.io.save(sys.argv[1], A)\nexcept OSError as error:\n    print(error)\n"
    )
    path = tmp_path / "A.npz"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert f"cannot save {path}: File too large" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights")
def test_a_loop_of_symbolic_links_is_an_error(tmp_path: Path) -> None:
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    one.symlink_to(other)
    other.symlink_to(one)
    for use in (lambda: cm.io.save(one, cm.conv_matrix([1.0], 3)), lambda: cm.io.load(one)):
        with pytest.raises(OSError, match=r"one\.npz") as caught:
            use()
        assert caught.value.errno == errno.ELOOP
    assert one.is_symlink()
    target = tmp_path / "target.npz"
    link = tmp_path / "link.npz"
    link.symlink_to(target)
    cm.io.save(link, cm.conv_matrix([1.0], 3))  # a link to a file that is made
    assert link.is_symlink()
    assert target.is_file()
