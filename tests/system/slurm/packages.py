"""Slurm's programs for the tests: the machine's, or Debian's packages, installed where that can be done."""

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo", "scancel", "srun", "sbcast")
POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's packages whether they may start their services
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CGROUPS = Path("/sys/fs/cgroup")
APT = "apt-get"
INSTALL_S = 180.0


def programs() -> dict[str, str]:
    """Return where each of Slurm's programs is, of those that are there."""
    found = {name: shutil.which(name, path=PATH) for name in PROGRAMS}
    return {name: path for name, path in found.items() if path is not None}


def absent() -> list[str]:
    """Return the programs that are not there."""
    return [name for name in PROGRAMS if name not in programs()]


def provide() -> str:
    """Install what is missing; return why there is no Slurm, or "" where there is."""
    if os.geteuid() != 0:
        return "a Slurm of several virtual nodes needs root"
    if not CGROUPS.is_dir() or not any(CGROUPS.iterdir()):
        return f"slurmd does not start without cgroups: there are none in {CGROUPS}"
    if not absent():
        return ""
    if shutil.which(APT) is None:
        return f"no {', '.join(absent())} here, and no apt-get to install {' '.join(PACKAGES)} with"
    why = _install()
    return f"apt-get could not install {' '.join(PACKAGES)}: {why}" if absent() else ""


def _install() -> str:
    """Install Debian's packages without starting their services; return the last that apt-get said."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        _apt("update")
        return _apt("install", "--yes", "--no-install-recommends", *PACKAGES)
    finally:
        if ours:
            POLICY.unlink()


def _apt(*words: str) -> str:
    limits = ("DPkg::Lock::Timeout=60", "Acquire::http::Timeout=15", "Acquire::Retries=1")
    command = [APT, "-q", *(f"-o{limit}" for limit in limits), *words]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {INSTALL_S:g} s"
    return " / ".join(done.stdout.strip().splitlines()[-2:])
