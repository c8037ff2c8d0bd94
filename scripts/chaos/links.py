"""Two hosts on one machine, and the link between them: network namespaces with two pairs of devices.

The second host has the last replica; the data goes over `eth0`, and the launcher's own messages over `ctl0`,
so that the link of the ranks can be cut while the launcher knows nothing of it.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from scripts.chaos.jobs import Surroundings, Workshop
from scripts.chaos.scene import Scene

DATA, CONTROL = "10.97.1", "10.97.2"
NOBODY = "02:00:00:00:00:99"  # an address that no device has: what is sent there is lost
# A queue so short that bursts are dropped, where the kernel cannot drop by chance.
CHANCE, QUEUE = "netem loss 3%", "tbf rate 40mbit burst 5kb limit 9kb"
AGENT = """#!/bin/sh
# Start a command on a host, as ssh does: agent [options] HOST WORDS...
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec nsenter --net="/run/netns/$host" unshare -um sh -c \
    'hostname "$0"; mount --bind "$2" /etc/hosts; eval "$1"' "$host" "$*" "$(dirname "$0")/hosts"
"""


def ip(*words: object) -> None:
    """Run `ip`. Raises CalledProcessError."""
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)


@cache
def no_namespaces() -> str:
    """Say why there can be no hosts here; nothing if there can."""
    missing = [name for name in ("ip", "tc", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found: no network namespaces"
    name = f"dbmpi-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made: {error.stderr.decode().strip()}"
    return ""


def names() -> tuple[str, str]:
    """Return what the two hosts are called."""
    return f"dbmpi-a-{os.getpid()}", f"dbmpi-b-{os.getpid()}"


def hosts(shop: Workshop, scene: Scene) -> Surroundings:
    """Make the hosts, and return how a job is started on them; Open MPI's launcher."""
    first, second = names()
    scene.undo.append(remove)
    ip("netns", "add", first)
    ip("netns", "add", second)
    for device, network in (("eth0", DATA), ("ctl0", CONTROL)):
        ip("link", "add", device, "netns", first, "type", "veth", "peer", "name", device, "netns", second)
        for number, host in enumerate((first, second), 1):
            ip("-n", host, "addr", "add", f"{network}.{number}/24", "dev", device)
            ip("-n", host, "link", "set", device, "up")
    for host in (first, second):
        ip("-n", host, "link", "set", "lo", "up")
    agent = _write_files(shop.folder, scene)
    flags = f"--hostfile {shop.folder / 'hostfile'} --prtemca plm ssh --prtemca plm_ssh_agent {agent}"
    flags += " --prtemca ras ^slurm --prtemca prte_if_include ctl0 --mca btl_tcp_if_include eth0"
    inside = 'hostname "$0"; mount --bind "$1" /etc/hosts; shift; exec "$@"'
    enter = ["nsenter", f"--net=/run/netns/{first}", "unshare", "-um", "sh", "-c", inside, first]
    return Surroundings(flags=flags.split(), around=[*enter, str(shop.folder / "hosts")])


def _write_files(folder: Path, scene: Scene) -> Path:
    first, second = names()
    there, here = scene.shape.partitions, scene.shape.ranks - scene.shape.partitions
    (folder / "hostfile").write_text(f"{first} slots={here}\n{second} slots={there}\n")
    known = ["127.0.0.1 localhost", *(f"{CONTROL}.{i} {name}" for i, name in enumerate((first, second), 1))]
    (folder / "hosts").write_text("\n".join(known) + "\n")
    agent = folder / "agent"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    return agent


def remove() -> None:
    """Remove the hosts; what runs there has ended."""
    for host in names():
        subprocess.run(["ip", "netns", "del", host], capture_output=True)


# Cuts, in deadlines. TCP doubles the time after which it sends again, so that the silence lasts up to twice
# as long as the cut; silence is judged after 1.5.
SHORT = 0.2, 0.5


def cut(deadlines: tuple[float, float]) -> Callable[[Scene], None]:
    """Return what lets all vanish that the hosts send each other, for some deadlines, between two bounds."""

    def act(scene: Scene) -> None:
        _neighbors("replace", "lladdr", NOBODY, "nud", "permanent")
        scene.settle()
        scene.wait(scene.timeout_s * scene.draw.uniform(*deadlines))
        _neighbors("del")

    return act


def _neighbors(action: str, *how: str) -> None:
    for number, host in enumerate(names(), 1):
        ip("-n", host, "neigh", action, f"{DATA}.{3 - number}", *how, "dev", "eth0")


def lossy(scene: Scene) -> None:
    """Let the link lose packets from now on."""
    for host in names():
        add = ["tc", "-n", host, "qdisc", "replace", "dev", "eth0", "root"]
        chance = subprocess.run([*add, *CHANCE.split()], capture_output=True)
        if chance.returncode:
            scene.notes.append("a short queue: the kernel has no netem")
            subprocess.run([*add, *QUEUE.split()], check=True, capture_output=True)
    scene.settle()
