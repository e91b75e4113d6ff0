"""One sweep under faults: starts the real command, waits for a seeded moment, and looks at what is left."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from resource import prlimit
from typing import Any

import processes
import psutil
import yaml
from invariant import Place, check_continued, complaints, read_lines, read_trials
from proxy import Proxy
from servers import PATIENCE, Cluster, MLflowServer, mount, unmount
from studies import FLAVOURS, NUM_EPOCHS, NUM_TRIALS
from world import ROOT, World

LIMIT_SECS = 240 * PATIENCE
"""For whatever is not timed itself: longer means that it hangs."""
ENDING_SECS = 90
"""For processes that see by looking now and then that what began them is gone, as Ray's agents do."""
MAX_STARTS = 4
"""Of the command, until it must have ended by itself."""
BACKLOG = "the next start of this study writes the rest"
SMALL_DISK_MEBIBYTES = 24


class Broken(AssertionError):
    """The product did not keep its word."""


class Missed(Exception):
    """The moment to hit never came: the sweep was over before."""


@dataclass(frozen=True)
class Moment:
    """When a fault hits."""

    epochs: int
    """So many further epochs are in the journal."""
    secs: float
    """And so much later."""

    def __str__(self) -> str:
        return f"{self.epochs} ep + {self.secs:.2f} s" if self.epochs else f"start + {self.secs:.2f} s"


def _as_a_user() -> list[str]:
    """What takes root's right to pass over file permissions from a command."""
    rights = "-dac_override,-dac_read_search"
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    return ["setpriv", "--bounding-set", rights, "--inh-caps", rights]


class Command:
    """A run of the command line in a process group of its own, without root's rights on files."""

    def __init__(self, arguments: list[str], folder: Path, number: int, env: dict[str, str]) -> None:
        self.err_file = folder / f"command-{number}.err"
        self.started = time.monotonic()
        with (folder / f"command-{number}.out").open("wb") as out, self.err_file.open("wb") as err:
            self.process = subprocess.Popen(
                [*_as_a_user(), sys.executable, "-m", "search.cli", *arguments],
                cwd=ROOT,
                env=env,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        return self.process.poll()

    @property
    def err(self) -> str:
        """What it told the user so far."""
        return self.err_file.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this one process."""
        self.process.send_signal(number)


class Episode:
    """A study in a folder of its own, with the verbs that kinds of faults are written in.

    Args:
        world: What is shared.
        flavour: How the study is run, by name.
        name: Unique in this world.
        seed: Decides every moment and every other draw.
        num_faults: How many are to come.
    """

    def __init__(self, world: World, flavour: str, name: str, seed: int, num_faults: int) -> None:
        self.world, self.name = world, name
        self.flavour = FLAVOURS[flavour]
        self.home = world.folder / name
        self.mark = f"{world.mark}/{name}/"
        self.storage = self.home / "runs"
        self.folder = self.storage / name
        self.seed, self.rng = seed, random.Random(seed)
        self.faults_left = num_faults
        self.command: Command | None = None
        self.starts = 0
        self.moment: Moment | None = None
        self.exempt: set[str] = set()
        self.proxy: Proxy | None = None
        self.server: MLflowServer | None = None
        self.cluster: Cluster | None = None
        self._mounts: list[Path] = []
        self.home.mkdir()
        self.file = self.home / "study.yaml"
        self._token = secrets.token_hex(32)
        self._set_up(min(NUM_TRIALS, 3 + 2 * num_faults))

    def _set_up(self, num_trials: int) -> None:
        flavour = self.flavour
        self.reference = self.world.reference(flavour.body)
        study = self.world.study(flavour.body, name=self.name, storage=self.storage)
        study["search"]["trials"] = min(num_trials, study["search"]["trials"])
        if flavour.body == "images":
            study["data"]["root"] = str(self.home / "images")
            shutil.copytree(self.world.images(), self.home / "images")
        if flavour.database:
            study["search"]["database"] = self.world.postgres.uri
        study["resources"] = {"runner": flavour.runner}
        if flavour.cluster:
            self.join_cluster()
        self.tracking_uri = self._find_tracking()
        if flavour.tracking != "embedded":
            study["tracking"] = {"uri": self.tracking_uri}
        if flavour.disk:
            self._mount(self.folder)
            self._mount(self.folder / "trials")
        self.num_trials: int = study["search"]["trials"]
        self.file.write_text(yaml.safe_dump(study, sort_keys=False))

    def _find_tracking(self) -> str:
        match self.flavour.tracking:
            case "server":
                return self.world.server.uri
            case "proxy":
                self.proxy = Proxy(self.world.server.port)
                return self.proxy.uri
            case "own":
                self.server = MLflowServer(self.home / "mlflow", self._env_kept)
                return self.server.uri
            case "disk":
                self._mount(self.home / "mlflow")
                self.world.give_database(self.home / "mlflow")
                return f"sqlite:///{self.home}/mlflow/mlflow.db"
        self.world.give_database(self.storage)
        return f"sqlite:///{self.storage}/mlflow.db"

    def _mount(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        assert mount(folder, SMALL_DISK_MEBIBYTES), f"no disk could be mounted at {folder}"
        self._mounts.append(folder)

    @property
    def env(self) -> dict[str, str]:
        """Environment of everything that belongs to this episode."""
        short = self.home / "r"
        short.mkdir(exist_ok=True)
        return {
            **self.world.env(f"{self.name}/"),
            "HYBRID_SEARCH_FAULTS_HOOK": str(self.home),
            "RAY_TMPDIR": str(short),
            # Ray's head asks for a token where the user has one, and its nodes do not bring it by themselves.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
        }

    @property
    def _env_kept(self) -> dict[str, str]:
        """Of servers that outlive a command."""
        return {**self.env, processes.MARK: self.mark.removesuffix("/") + processes.KEPT}

    def join_cluster(self) -> None:
        """Start a cluster of two nodes."""
        folder = self.home / f"c{self.starts}"
        folder.mkdir()
        self.cluster = Cluster(folder, self._env_kept)

    def begin_fault(self, name: str, faults_left: int) -> None:
        """Draw from now on for one fault; what the faults before drew changes nothing."""
        self.rng = random.Random(f"{self.seed}/{name}")
        self.moment, self.faults_left = None, faults_left

    # ---- the verbs

    def start(self, *arguments: str, hook: Path | None = None) -> Command:
        """Run the sweep command; the study's own folder, file and cluster are filled in.

        Args:
            arguments: Further ones.
            hook: Where the hook writes its trace, for another study than the episode's; unset: with the episode's.
        """
        env = self.env | ({"HYBRID_SEARCH_FAULTS_HOOK": str(hook)} if hook else {})
        place = ["--address", self.cluster.address] if self.cluster else []
        self.starts += 1
        self._trace("cut")
        return Command(["sweep", str(self.file), *place, *arguments], self.home, self.starts, env)

    def hit(self, *, begun: bool = False, mid_trial: bool = False) -> Command:
        """Wait for a seeded moment of a running command, which is started if there is none.

        Args:
            begun: Not before the first epoch that this run of the command tells.
            mid_trial: Right after an epoch that was not its trial's last.

        Raises:
            Missed: The sweep was over before.
        """
        command = self.command
        fresh = command is None
        if command is None:
            command = self.command = self.start()
        before = self.num_epochs()
        most = max(1, (self._num_expected() - before) // (self.faults_left + 1))
        epochs = self.rng.randint(1 if begun or mid_trial or not fresh else 0, most)
        secs = self.rng.uniform(0.0, 0.4) if epochs else self.rng.uniform(0.3, 5.0)
        until = time.monotonic() + LIMIT_SECS
        while self.num_epochs() < before + epochs or (mid_trial and not self._is_mid_trial()):
            self._still_runs(command, until)
            time.sleep(0.01)
        if mid_trial:
            secs = secs / 8
        self.moment = Moment(epochs, secs)
        time.sleep(secs)
        self._still_runs(command, until)
        return command

    def _still_runs(self, command: Command, until: float) -> None:
        if command.code == 0 or (command.code == 2 and "no answer in time" in command.err and not self.num_epochs()):
            raise Missed  # the second: a machine that is too busy for a study to begin
        if command.code is not None:
            raise Broken(f"the command ended with {command.code} before it was hit\n{_tail(command.err)}")
        if time.monotonic() > until:
            raise Broken(f"nothing happens\n{_tail(command.err)}")

    def _num_expected(self) -> int:
        """At least so many epochs are told before the sweep is over, if it goes as it would undisturbed."""
        if self.flavour.runner == "inline":
            return num_undisturbed(self.reference, self.num_trials)
        return 2 * self.num_trials

    def num_epochs(self) -> int:
        """Epochs in the journal."""
        return sum(event["event"] == "epoch" for event in read_lines(self.folder))

    def _is_mid_trial(self) -> bool:
        events = [event for event in read_lines(self.folder) if event["event"] in {"epoch", "end", "begin"}]
        return bool(events) and events[-1]["event"] == "epoch" and events[-1]["metrics"]["epoch"] < NUM_EPOCHS

    def unfinished(self) -> list[str]:
        """Keys of trials without an end."""
        return [trial.key for trial in read_trials(self.folder).values() if trial.outcome is None]

    def ended(
        self, command: Command, *, codes: Collection[int], words: Collection[str] = (), within: float = LIMIT_SECS
    ) -> None:
        """Wait until a command has ended, and look at how.

        Args:
            command: Which.
            codes: Exit codes that are right; -9 where it was killed.
            words: Must stand in what it told the user.
            within: Seconds.
        """
        if command is self.command:
            self.command = None
        since = time.monotonic()
        try:
            code = command.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Broken(f"the command is still there after {within:.0f} s\n{_tail(command.err)}") from None
        if code not in codes:
            raise Broken(f"exit code {code}, expected {' or '.join(map(str, codes))}\n{_tail(command.err)}")
        if "Traceback (most recent call last)" in command.err:
            raise Broken(f"a traceback for the user\n{_tail(command.err)}")
        missing = [word for word in words if word not in command.err]
        if missing:
            raise Broken(f"it did not say {missing} (after {time.monotonic() - since:.1f} s)\n{_tail(command.err)}")

    def goes_on(self, command: Command) -> None:
        """Wait until a running command tells another epoch, or has done all there was to do."""
        before, until = self.num_epochs(), time.monotonic() + LIMIT_SECS
        while self.num_epochs() == before and command.code is None:
            if time.monotonic() > until:
                raise Broken(f"it does not go on\n{_tail(command.err)}")
            time.sleep(0.05)
        if command.code is not None:
            self.ended(command, codes={0})

    def goes_on_or_ends(self, command: Command, *, words: Collection[str]) -> None:
        """Either it goes on, or it has ended with code 2 and these words."""
        before, until = self.num_epochs(), time.monotonic() + LIMIT_SECS
        while self.num_epochs() < before + 2 and command.code is None and time.monotonic() < until:
            time.sleep(0.05)
        if command.code == 2:
            self.ended(command, codes={2}, words=words)
        elif command.code is not None:
            self.ended(command, codes={0})
        elif time.monotonic() > until:
            raise Broken(f"it does not go on\n{_tail(command.err)}")

    def existing(self, name: str) -> Path:
        """A file of the study's folder that holds something.

        Raises:
            Missed: Not yet.
        """
        file = self.folder / name
        if not file.is_file() or not file.stat().st_size:
            raise Missed
        return file

    def saved(self) -> None:
        """See that each unfinished trial has a checkpoint of all the epochs that were told; no step comes again."""
        for key in self.unfinished():
            self._trace("saved", key)
            self._check_checkpoint(key)

    def lost(self, key: str) -> None:
        """Note that the fault took what a trial could have gone on from: it may begin anew."""
        self._trace("lost", key)

    def _trace(self, event: str, key: str = "") -> None:
        with (self.home / "trace").open("a") as stream:
            stream.write(json.dumps([event, key]) + "\n")

    def _check_checkpoint(self, key: str) -> None:
        from search.training.checkpoint import load_newest

        told = len(read_trials(self.folder)[key].curve)
        state = load_newest(self.folder / "trials" / key, key)
        if told and (state is None or len(state["curve"]) < told):
            raise Broken(
                f"trial {key} told {told} epochs, and its checkpoint has {len(state['curve']) if state else 0}"
            )

    def num_micro_batches(self) -> int:
        """Trials whose batches had to be cut."""
        return sum(trial.micro_batch for trial in read_trials(self.folder).values())

    def check_running(self) -> None:
        """See that curves and decisions are right, whatever MLflow has."""
        self.check(finished=False)

    def victims(self, role: str) -> list[psutil.Process]:
        """Living processes of this episode with a task.

        Raises:
            Missed: There are none now.
        """
        found = processes.of_role(role, self.mark)
        if not found:
            raise Missed
        return found

    def victims_of(self, command: Command) -> list[psutil.Process]:
        """The process of a command."""
        return [psutil.Process(command.process.pid)]

    def has(self, role: str) -> bool:
        """Whether anybody has this task."""
        return bool(processes.of_role(role, self.mark))

    def processes(self) -> list[psutil.Process]:
        """All that belong to its commands."""
        return [item for item in processes.marked(self.mark) if processes.is_left_over(item)]

    def send(self, victim: psutil.Process, number: signal.Signals) -> None:
        """Send a signal; whoever has just left does not mind."""
        self._trace("cut")
        with suppress(psutil.Error):
            victim.send_signal(number)

    def sleep(self, secs: float) -> None:
        """Let time pass."""
        time.sleep(secs)

    def pause(self, victims: list[psutil.Process], secs: float) -> None:
        """SIGSTOP, a while of nothing, SIGCONT."""
        with self.paused(victims):
            time.sleep(secs)

    @contextmanager
    def paused(self, victims: list[psutil.Process]) -> Iterator[None]:
        """Hold processes still for a while."""
        for victim in victims:
            victim.suspend()
        try:
            yield
        finally:
            for victim in victims:
                with suppress(psutil.Error):
                    victim.resume()

    def fill(self, folder: Path) -> Path:
        """Fill the disk of a folder to its last byte; returns the file to remove afterwards."""
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as stream, suppress(OSError):
            for size in (1 << 16, 1 << 10, 1):
                with suppress(OSError):
                    while stream.write(b"\0" * size) == size:
                        pass
        return ballast

    def limit(self, pid: int, resource: int, most: int) -> None:
        """Limit a resource of a running process."""
        hard = prlimit(pid, resource)[1]
        prlimit(pid, resource, (most, hard))

    def run(self, *arguments: str) -> Command:
        """Run a command of another verb to its end."""
        self.starts += 1
        command = Command(list(arguments), self.home, self.starts, self.env)
        command.process.wait(LIMIT_SECS)
        return command

    def finish(self) -> None:
        """Let the sweep come to its end."""
        command = self.command or self.start()
        self.ended(command, codes={0})

    # ---- the end

    def recover(self) -> None:
        """Run the command until it has ended by itself, and everybody has been told."""
        for _ in range(MAX_STARTS):
            command = self.command = self.command or self.start()
            self.ended(command, codes={0})
            if BACKLOG not in command.err:
                return
        raise Broken(f"after {MAX_STARTS} starts MLflow still lacks something\n{_tail(command.err)}")

    def check(self, *, finished: bool) -> None:
        """Assert the invariant; its partial form while the sweep has not ended."""
        place = Place(
            folder=self.folder,
            tracking_uri=self.tracking_uri,
            database=self.world.postgres.uri if self.flavour.database else None,
        )
        self.exempt |= {key for key, trial in read_trials(self.folder).items() if trial.micro_batch}
        others = read_trials(self.reference)
        found = complaints(
            place,
            self.reference,
            finished=finished,
            exempt=self.exempt,
            may_fail={key for key, trial in others.items() if trial.word == "failed"},
        )
        trials = read_trials(self.folder)
        found += check_continued(self._read_trace(), trials)
        if finished:
            if left := processes.await_none(self.mark, ENDING_SECS * PATIENCE):
                found.append(f"processes are left over: {processes.tell(left)}")
            found += self._check_by_command()
        if found:
            raise Broken("\n".join(found[:12]))

    def _read_trace(self) -> list[list[Any]]:
        """What the hook and the faults wrote."""
        path = self.home / "trace"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _check_by_command(self) -> list[str]:
        """Ask the product itself, once it can answer."""
        command = Command(["status", str(self.file), "--check"], self.home, 99, self.env)
        self.ended(command, codes={0})
        return []

    def close(self) -> None:
        """End all that is left of it, and let disks go."""
        for process in processes.marked(self.mark):
            with suppress(psutil.Error):
                process.resume()
        processes.end(self.mark)
        if self.proxy is not None:
            self.proxy.close()
        for folder in reversed(self._mounts):
            unmount(folder)


def num_undisturbed(reference: Path, num_trials: int) -> int:
    """Epochs that an undisturbed sweep, one trial after another, tells until every trial has ended."""
    from search.sweep.schedulers import Asha

    scheduler = Asha(grace_epochs=1, reduction=2, max_epochs=NUM_EPOCHS)
    total = 0
    for trial in list(read_trials(reference).values())[:num_trials]:
        for item in trial.curve:
            total += 1
            if not scheduler.observe(trial.key, item["epoch"], item["val_accuracy"]):
                break
    return total


def _tail(text: str, num_lines: int = 25) -> str:
    lines = text.strip().splitlines()[-num_lines:]
    return "\n".join(f"    {line[:300]}" for line in lines)
