"""The launcher above a process, behind wrappers, or none."""

from dbmpi.comm.ancestry import launcher, unlaunched


def _process(proc, pid, name, parent):
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1\n")
    (proc / str(pid) / "comm").write_text(f"{name}\n")


def test_the_nearest_launcher_is_found_behind_a_wrapper(tmp_path):
    for pid, name, parent in ((9, "prterun", 1), (10, "prted", 9), (11, "a ) S 9", 10), (12, "python", 11)):
        _process(tmp_path, pid, name, parent)
    assert launcher(12, tmp_path) == 10
    assert not unlaunched(12, tmp_path)


def test_a_shell_is_no_launcher(tmp_path):
    for pid, name, parent in ((1, "init", 0), (11, "bash", 1), (12, "python", 11)):
        _process(tmp_path, pid, name, parent)
    assert launcher(12, tmp_path) is None
    assert unlaunched(12, tmp_path)
