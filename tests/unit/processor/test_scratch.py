"""Scratch folders: one's own, and nobody's."""

import subprocess
import sys
from pathlib import Path

from services.processor.scratch import own_scratch

PROJECT = Path(__file__).parents[3]


def test_a_folder_goes_with_its_owner(tmp_path: Path) -> None:
    with own_scratch(tmp_path, "a") as folder:
        (folder / "job").mkdir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, os; from pathlib import Path; from services.processor.scratch import own_scratch\n"
        "with own_scratch(Path(sys.argv[1]), 'dead') as f:\n"
        "    (f / 'job').mkdir(); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=PROJECT, check=False)
    assert (tmp_path / "dead" / "job").is_dir()
    with own_scratch(tmp_path, "living") as living, own_scratch(tmp_path, "newcomer"):
        assert living.is_dir()
        assert not (tmp_path / "dead").exists()
