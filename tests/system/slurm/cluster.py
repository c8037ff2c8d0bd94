"""A real Slurm on this machine, for tests: munged, slurmctld, and a slurmd for each of some virtual nodes.

Everything runs as root, without systemd, in one directory and on ports of its own, beside any other Slurm.
All nodes are this host, so they share its cores, network and files. What a daemon or a job starts inherits a
token in its environment, by which `Cluster.stop` finds it, and its node's name, by which `Cluster.lose` does.
"""

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from scripts import processes
from tests.system.slurm.packages import programs

START_S, STOP_S, ANSWER_S = 30.0, 20.0, 30.0

# config_overrides: believe CPUs=, whatever the hardware has. cred_expire is also how long a job that is put
# back in the queue has to wait (5 is the least), SlurmdTimeout how long a node must be silent to be down.
# Jobs of `urgent` take nodes from those of `test`, which get their signal and have GraceTime seconds to go.
CONFIGURATION = """\
ClusterName=dbmpi-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
TmpFS={root}/tmp.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=test Nodes=ALL Default=YES PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL PriorityTier=2
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN\n"


def wait_for(condition: Callable[[], object], limit_s: float, what: str) -> None:
    """Wait until the condition holds; an AssertionError that says what for, if it does not in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s:g} s for {what}"
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """Slurm with nodes node1, node2, ... of `cpus` CPUs each, below `root`, a short path that exists."""

    def __init__(self, root: Path, nodes: int, cpus: int) -> None:
        self.root, self.nodes, self.cpus = root, [f"node{n + 1}" for n in range(nodes)], cpus
        self.token = uuid.uuid4().hex
        outer = ("SLURM", "SBATCH", "SRUN")  # as in a job of a real cluster
        self.env = {
            **{name: text for name, text in os.environ.items() if not name.startswith(outer)},
            "SLURM_CONF": str(root / "slurm.conf"),
            "TMPDIR": str(root / "temporary"),
            processes.TOKENS: f"{os.environ.get(processes.TOKENS, '')}:{self.token}",
        }
        self.complaint = ""
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all daemons, and wait until every node is idle."""
        self._start_munged()
        host = socket.gethostname().partition(".")[0]
        port, *ports = free_ports(1 + len(self.nodes))
        text = CONFIGURATION.format(host=host, port=port, root=self.root)
        for name, node_port in zip(self.nodes, ports, strict=True):
            text += NODE.format(name=name, host=host, port=node_port, cpus=self.cpus)
        (self.root / "slurm.conf").write_text(text)
        for name in ("state", "temporary"):
            (self.root / name).mkdir()
        self._start(programs()["slurmctld"], "-D")
        wait_for(lambda: " is UP" in self.ask("scontrol", "ping"), START_S, "slurmctld")
        for name in self.nodes:
            self.start_node(name)
        wait_for(lambda: self.idle() == self.nodes, START_S, "idle nodes")

    def _start_munged(self) -> None:
        place = self.root / "munge"
        place.mkdir()
        self.root.chmod(0o755)  # munged demands that all could reach its socket
        (place / "key").write_bytes(os.urandom(128))
        (place / "key").chmod(0o400)
        files = [f"--{name}-file={place / name}" for name in ("key", "pid", "log", "seed")]
        self._start(programs()["munged"], "--foreground", f"--socket={place / 'socket'}", *files)
        wait_for((place / "socket").exists, START_S, "munged")

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node, anew after `lose`."""
        for kind in ("spool", "tmp"):
            (self.root / f"{kind}.{name}").mkdir(exist_ok=True)
        self._start(programs()["slurmd"], "-D", "-N", name, SLURMD_NODENAME=name)

    def _start(self, program: str, *arguments: str, **more: str) -> None:
        with (self.root / f"{Path(program).name}.out").open("ab") as out:
            daemon = subprocess.Popen(
                [program, *arguments],
                env={**self.env, **more},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._daemons.append(daemon)

    def ask(self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run one of Slurm's commands, and return what it printed; "" where it failed: see `complaint`."""
        environment = {**self.env, **(env or {})}
        done = subprocess.run(
            words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=ANSWER_S
        )
        self.complaint = done.stderr
        return done.stdout if done.returncode == 0 else ""

    def idle(self) -> list[str]:
        """Return the nodes that are up and have nothing to do."""
        lines = self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
        return sorted({name for name, state in map(str.split, lines) if state == "idle"})

    def job(self, number: str) -> dict[str, str]:
        """Return what `scontrol show job` says of a job: JobState, Restarts, ExitCode, ..."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.partition("=")[::2] for word in words)

    def lose(self, name: str) -> None:
        """Lose a node: its slurmd and all that runs on it are killed at once, and answer nobody."""
        mark = b"\0SLURMD_NODENAME=" + name.encode() + b"\0"
        ours = partial(processes.carriers, self.token)
        processes.kill_all(lambda: [pid for pid in ours() if mark in environ(pid)], STOP_S)

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        paths = sorted([*self.root.glob("*.out"), *self.root.glob("*.log")])
        ends = [f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in paths]
        return "\n".join(ends)

    def stop(self) -> None:
        """Kill all that was started, jobs included, and wait until it is gone."""
        processes.kill_all(partial(processes.carriers, self.token), STOP_S)
        for daemon in self._daemons:
            daemon.wait(STOP_S)
        shutil.rmtree(self.root, ignore_errors=True)


def environ(pid: int) -> bytes:
    """Return the environment a process was started with, a NUL before and after each; b"" if it is gone."""
    try:
        return b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
