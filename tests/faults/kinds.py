"""Every kind of fault, by name: each hits a sweep at a seeded moment and says what must come of it.

A kind leaves the command running if the fault is none of its business; what interrupted the sweep ends the command.
The next kind of a chain, or the recovery, goes on from there.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from resource import RLIMIT_FSIZE, RLIMIT_NOFILE

from episode import BACKLOG, Broken, Episode, Missed
from invariant import read_lines, read_trials
from servers import PATIENCE

GOES_ON = "run the same command again to continue"
AGAIN = "run the same command again"
MAX_RENAMES = 30
MOST = {RLIMIT_FSIZE: 1 << 18, RLIMIT_NOFILE: 3}
"""Limits: a file holds what a command says, and no checkpoint; nothing can be opened."""
TERM_SECS = 10.0
HOUR = 3600.0


# ---- signals


def kill_driver(e: Episode) -> None:
    command = e.hit()
    command.signal(signal.SIGKILL)
    e.ended(command, codes={-signal.SIGKILL})


def kill_everything(e: Episode) -> None:
    """As by a power cut: driver, mirror, workers, head, in no order."""
    command = e.hit()
    victims = [*e.processes()]
    e.rng.shuffle(victims)
    for victim in victims:
        e.send(victim, signal.SIGKILL)
    e.ended(command, codes={-signal.SIGKILL})


def end_driver(e: Episode, number: signal.Signals) -> None:
    """Saves what it was at, and leaves in time."""
    command = e.hit(begun=True)
    command.signal(number)
    e.ended(command, codes={130}, words=[GOES_ON], within=TERM_SECS * PATIENCE)
    e.saved()


def kill_role(e: Episode, role: str, number: signal.Signals) -> None:
    """Whoever it hits, the driver goes on."""
    command = e.hit(begun=True)
    e.send(e.rng.choice(e.victims(role)), number)
    e.goes_on(command)


def kill_largest_worker(e: Episode) -> None:
    """As the system does when memory runs out."""
    command = e.hit(begun=True)
    e.send(max(e.victims("worker"), key=lambda victim: victim.memory_info().rss), signal.SIGKILL)
    e.goes_on(command)


def kill_node(e: Episode, number: signal.Signals) -> None:
    """Its trials go on elsewhere; a node that joins later is welcome."""
    command = e.hit(begun=True)
    e.send(e.rng.choice(e.victims("joined raylet")), number)
    e.goes_on(command)
    assert e.cluster is not None
    e.cluster.join()


def end_head(e: Episode, number: signal.Signals) -> None:
    """A local cluster is gone without its head: the command says so, ends, and starts anew."""
    command = e.hit(begun=True)
    e.send(e.victims("head")[0], number)
    e.ended(command, codes={2}, words=["lost the Ray cluster", GOES_ON])


def pause_driver(e: Episode, secs: tuple[float, float]) -> None:
    command = e.hit()
    e.pause(e.victims_of(command), e.rng.uniform(*secs))
    e.goes_on(command)


def pause_role(e: Episode, role: str, secs: tuple[float, float]) -> None:
    command = e.hit(begun=True)
    e.pause([e.rng.choice(e.victims(role))], e.rng.uniform(*secs))
    e.goes_on(command)


def pause_node(e: Episode, secs: tuple[float, float]) -> None:
    """Ray may give the node up meanwhile; it then leaves by itself when it wakes, and another joins."""
    command = e.hit(begun=True)
    e.pause(e.victims("joined raylet"), e.rng.uniform(*secs))
    e.goes_on(command)
    assert e.cluster is not None
    if not e.has("joined raylet"):
        e.cluster.join()


# ---- MLflow


def misbehave(e: Episode, mode: str) -> None:
    """From a moment on MLflow is slow, broken or gone until the sweep has ended: no trial waits, nothing is lost."""
    command = e.hit(begun=True)
    assert e.proxy is not None
    e.proxy.switch(mode)
    e.ended(command, codes={0}, words=[BACKLOG])
    e.check_running()
    e.proxy.switch("pass")


def misbehave_shortly(e: Episode, mode: str) -> None:
    command = e.hit(begun=True)
    assert e.proxy is not None
    e.proxy.switch(mode)
    e.goes_on(command)
    e.proxy.switch("pass")


def kill_mlflow(e: Episode) -> None:
    """The server dies, with whatever it was writing, and is started again later."""
    command = e.hit(begun=True)
    assert e.server is not None
    e.server.kill()
    e.goes_on(command)
    e.server.start()


# ---- PostgreSQL


def restart_postgres(e: Episode, secs: float) -> None:
    """The command waits for it, or ends in words."""
    command = e.hit(begun=True)
    e.world.postgres.stop(e.rng.choice(["fast", "immediate"]))
    e.sleep(secs)
    e.world.postgres.start()
    e.goes_on_or_ends(command, words=["search.database"])


def share_database(e: Episode) -> None:
    """A second driver with another folder, and the same name in the same database, is refused."""
    command = e.hit(begun=True)
    other = e.start("--set", f"storage={e.home / 'other'}", "--set", "tracking.enabled=false")
    e.ended(other, codes={2}, words=["search.database"])
    e.goes_on(command)


# ---- disks


def fill_journal_disk(e: Episode) -> None:
    command = e.hit(begun=True)
    ballast = e.fill(e.folder)
    e.ended(command, codes={2}, words=[str(e.folder), "free disk space", "run the same command again"])
    ballast.unlink()


def fill_trials_disk(e: Episode) -> None:
    """The trials are not to blame: they stay unfinished."""
    command = e.hit(begun=True)
    ballast = e.fill(e.folder / "trials")
    e.ended(command, codes={2}, words=[str(e.folder / "trials"), "free disk space, then run the same command again"])
    ballast.unlink()


def reach_limit(e: Episode, resource: int, words: str) -> None:
    """The driver, which trains by itself, can write no checkpoint, or open nothing more: no trial is to blame."""
    command = e.hit(begun=True)
    e.limit(command.process.pid, resource, MOST[resource])
    e.ended(command, codes={2}, words=[words, AGAIN])


def reach_limit_in_worker(e: Episode, resource: int, words: str) -> None:
    command = e.hit(begun=True)
    for worker in e.victims("worker"):
        e.limit(worker.pid, resource, MOST[resource])
    e.ended(command, codes={2}, words=[words, AGAIN])


def withdraw_rights(e: Episode) -> None:
    """Another user's folder, to the system: the trials in it are not to blame."""
    command = e.hit(begun=True)
    trials = e.folder / "trials"
    trials.chmod(0)
    try:
        e.ended(command, codes={2}, words=[str(trials), "Permission denied", AGAIN])
    finally:
        trials.chmod(0o755)


def hide_checkpoint(e: Episode) -> None:
    """A checkpoint that cannot be read is not a damaged one: with the right to read it the trial goes on from it."""
    kill_mid_trial(e)
    files = [file for key in e.unfinished() for file in (e.folder / "trials" / key).glob("checkpoint*.pt")]
    if not files:
        raise Missed
    for file in files:
        file.chmod(0)
    e.ended(e.start(), codes={2}, words=[files[0].name, "Permission denied", AGAIN])
    for file in files:
        file.chmod(0o644)
    e.saved()


def move_folder(e: Episode) -> None:
    """The command notices that its folder is gone, ends, and makes no other one in its place."""
    command = e.hit(begun=True)
    moved = e.folder.rename(e.home / "moved")
    e.ended(command, codes={2}, words=[str(e.folder)])
    if e.folder.exists():
        raise Broken(f"{e.folder} was made again: {sorted(e.folder.rglob('*'))}")
    moved.rename(e.folder)


def fill_tracking_disk(e: Episode) -> None:
    command = e.hit(begun=True)
    ballast = e.fill(e.home / "mlflow")
    e.ended(command, codes={0}, words=[BACKLOG])
    ballast.unlink()


# ---- files


def cut_checkpoint(e: Episode) -> None:
    """The trial begins anew and comes to the same result."""
    kill_mid_trial(e)
    files = [file for key in e.unfinished() for file in (e.folder / "trials" / key).glob("checkpoint*.pt")]
    if not files:
        raise Missed
    for file in files:
        cut(file, e.rng.randrange(file.stat().st_size))
        e.lost(file.parent.name)


def cut_journal_line(e: Episode) -> None:
    _cut_journal(e, lambda first, end: e.rng.randint(first + 1, end - 1))


def lose_journal_line(e: Episode) -> None:
    _cut_journal(e, lambda first, _: first)


def _cut_journal(e: Episode, draw: Callable[[int, int], int]) -> None:
    """Cut the journal somewhere between the first byte of its last line and its end."""
    kill_driver(e)
    file = e.existing("journal.jsonl")
    whole = file.read_bytes()
    first = whole.rstrip(b"\n").rfind(b"\n") + 1
    event = read_lines(e.folder)[-1]
    if event["event"] == "end":  # the checkpoints of its trial are gone already: it begins anew
        e.lost(event["key"])
    cut(file, draw(first, len(whole)))


def await_optuna_log(e: Episode) -> None:
    """Hold the driver until its copy begins: a process of its own writes it, which a short sweep may be over before."""
    command = e.command = e.command or e.start()
    file, end, is_held = e.folder / "optuna.log", time.monotonic() + 60, False
    while command.code is None and time.monotonic() < end and not (file.is_file() and file.stat().st_size):
        if not is_held and e.num_epochs():
            command.signal(signal.SIGSTOP)
            is_held = True
        time.sleep(0.02)
    if is_held:
        command.signal(signal.SIGCONT)


def cut_optuna_line(e: Episode) -> None:
    await_optuna_log(e)
    kill_driver(e)
    file = e.existing("optuna.log")
    whole = file.read_bytes()
    cut(file, whole.rstrip(b"\n").rfind(b"\n") + 1 + e.rng.randint(1, 20))


def lose_optuna_lines(e: Episode) -> None:
    await_optuna_log(e)
    kill_driver(e)
    file = e.existing("optuna.log")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[: int(0.7 * len(lines))]))


def delete_optuna_log(e: Episode) -> None:
    kill_driver(e)
    e.existing("optuna.log").unlink()


def corrupt_image(e: Episode) -> None:
    """The next start names the file and ends; with the file put back it goes on."""
    command = e.hit(begun=True)
    file = e.rng.choice(sorted((e.home / "images").rglob("*.png")))
    whole = file.read_bytes()
    file.write_bytes(e.rng.randbytes(len(whole) + e.rng.randint(-9, 9)))
    command.signal(signal.SIGKILL)
    e.ended(command, codes={-signal.SIGKILL})
    e.ended(e.start(), codes={2}, words=[file.name, file.parent.name])
    file.write_bytes(whole)


# ---- inside a process


def lack_memory(e: Episode) -> None:
    """More than some images at a time cannot be allocated: smaller parts of a batch can, and that is recorded."""
    command = e.hit(begun=True)
    before = e.num_micro_batches()
    (e.home / "most_images").write_text("9")
    e.goes_on(command)
    if e.command is not None:
        e.goes_on(command)
    (e.home / "most_images").unlink()
    if e.num_micro_batches() == before:
        raise Broken("no trial's micro_batch is in the journal")


def diverge(e: Episode) -> None:
    """A trial of the study ends in NaN: an outcome, whatever is killed meanwhile."""
    kill_driver(e)


def jump_clock(e: Episode) -> None:
    command = e.hit()
    for _ in range(2):
        (e.home / "clock").write_text(str(e.rng.uniform(-30 * HOUR, 30 * HOUR)))
        e.goes_on(command)
        if e.command is None:
            return


# ---- people


def start_twice(e: Episode) -> None:
    """The second is refused, naming the first, which goes on unharmed."""
    command = e.hit(begun=True)
    # Held still meanwhile: it would be done before the other has begun.
    with e.paused(e.victims_of(command)):
        e.ended(e.start(), codes={2}, words=[f"process {command.process.pid} on"])
    e.goes_on(command)


def run_out_of_time(e: Episode) -> None:
    if e.command is not None:  # of an earlier fault
        kill_driver(e)
    e.command = e.start(f"--time-budget={e.rng.uniform(0.5, 2.5) / 60}")
    e.ended(e.command, codes={0}, words=["the time budget is used up"])
    e.saved()


def start_four(e: Episode) -> None:
    """Four studies begin at one moment in a new storage: all of them are in the database that they share."""
    storage, hook = e.home / "four", e.home / "four-hook"
    hook.mkdir()
    names = [f"study-{number}" for number in range(4)]
    options = ["--set", f"storage={storage}", "--set", "search.trials=1"]
    commands = [e.start(*options, "--set", f"name={name}", hook=hook) for name in names]
    for command in commands:
        e.ended(command, codes={0})
        if BACKLOG in command.err or "damaged" in command.err:
            raise Broken(f"MLflow's database was not made by one of them\n{command.err}")
    for name in names:
        e.ended(e.run("status", str(storage / name), "--check"), codes={0})


def kill_export(e: Episode) -> None:
    """An export over an older one is killed at each of its renames: one of the two is there, and the next is whole."""
    e.finish()
    to = e.home / "exported"
    arguments = ["export", str(e.folder), "--to", str(to), "--set", "tracking.enabled=false"]
    at = e.home / "kill_at_rename"
    e.ended(e.run(*arguments), codes={0})
    for number in range(1, MAX_RENAMES):
        at.write_text(str(number))
        command = e.run(*arguments)
        at.unlink()
        e.ended(command, codes={0, -signal.SIGKILL})
        if not any(_is_export(folder) for folder in e.home.rglob("*") if folder.is_dir()):
            raise Broken(f"killed at moment {number}, and neither the old export is there nor the new one")
        e.ended(e.run(*arguments), codes={0})
        if not _is_export(to) or (left := sorted(to.parent.glob(f".{to.name}*"))):
            raise Broken(f"the next export after a kill at moment {number} is not whole, or leaves {left}")
        if command.code == 0:
            return
    raise Broken(f"more than {MAX_RENAMES // 2} renames of folders")


# ---- pieces


def _is_export(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("evidence.json", "config.yaml", "model.safetensors"))


def kill_mid_trial(e: Episode) -> None:
    """The trial that it hits has epochs to lose."""
    command = e.hit(mid_trial=True)
    command.signal(signal.SIGKILL)
    e.ended(command, codes={-signal.SIGKILL})
    if not any(trial.curve and trial.outcome is None for trial in read_trials(e.folder).values()):
        raise Missed


def cut(file: Path, size: int) -> None:
    with file.open("rb+") as stream:
        stream.truncate(size)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault."""

    inject: Callable[[Episode], None]
    flavour: str = "inline"
    """Of the sweep that it hits."""
    times: int = 1
    """How often it comes in a whole run of the harness."""


SHORT, MINUTE = (1.0, 8.0), (60.0, 60.0)
TERM, KILL, INT = signal.SIGTERM, signal.SIGKILL, signal.SIGINT

KINDS: dict[str, Kind] = {
    "kill-driver": Kind(inject=kill_driver, times=3),
    "kill-driver-mid-trial": Kind(inject=kill_mid_trial),
    "kill-everything": Kind(inject=kill_everything, times=2),
    "term-driver": Kind(inject=lambda e: end_driver(e, TERM), times=2),
    "ctrl-c": Kind(inject=lambda e: end_driver(e, INT)),
    "stop-driver": Kind(inject=lambda e: pause_driver(e, SHORT)),
    "stop-driver-minute": Kind(inject=lambda e: pause_driver(e, MINUTE)),
    "kill-mirror": Kind(inject=lambda e: kill_role(e, "mirror", KILL)),
    "term-mirror": Kind(inject=lambda e: kill_role(e, "mirror", TERM)),
    "stop-mirror": Kind(inject=lambda e: pause_role(e, "mirror", SHORT)),
    "cut-checkpoint": Kind(inject=cut_checkpoint, times=2),
    "cut-journal-line": Kind(inject=cut_journal_line, times=2),
    "lose-journal-line": Kind(inject=lose_journal_line, times=2),
    "cut-optuna-line": Kind(inject=cut_optuna_line, times=2),
    "lose-optuna-lines": Kind(inject=lose_optuna_lines, times=2),
    "delete-optuna-log": Kind(inject=delete_optuna_log),
    "lack-memory": Kind(inject=lack_memory, times=2),
    "jump-clock": Kind(inject=jump_clock),
    "start-twice": Kind(inject=start_twice),
    "time-budget": Kind(inject=run_out_of_time),
    "nan-loss": Kind(inject=diverge, flavour="nan", times=2),
    "corrupt-image": Kind(inject=corrupt_image, flavour="images", times=2),
    "mlflow-slow": Kind(inject=lambda e: misbehave(e, "slow"), flavour="proxy"),
    "mlflow-slow-shortly": Kind(inject=lambda e: misbehave_shortly(e, "slow"), flavour="proxy"),
    "mlflow-500": Kind(inject=lambda e: misbehave(e, "error"), flavour="proxy"),
    "mlflow-500-shortly": Kind(inject=lambda e: misbehave_shortly(e, "error"), flavour="proxy"),
    "mlflow-gone": Kind(inject=lambda e: misbehave(e, "gone"), flavour="proxy"),
    "mlflow-killed": Kind(inject=kill_mlflow, flavour="own-server", times=2),
    "postgres-restart": Kind(inject=lambda e: restart_postgres(e, 0.0), flavour="database", times=2),
    "postgres-gone": Kind(inject=lambda e: restart_postgres(e, 20.0), flavour="database"),
    "shared-database": Kind(inject=share_database, flavour="database"),
    "kill-driver-on-postgres": Kind(inject=kill_driver, flavour="database", times=2),
    "limit-file-size": Kind(inject=lambda e: reach_limit(e, RLIMIT_FSIZE, "File too large"), times=2),
    "limit-open-files": Kind(inject=lambda e: reach_limit(e, RLIMIT_NOFILE, "Too many open files"), times=2),
    "no-rights": Kind(inject=withdraw_rights, times=2),
    "hidden-checkpoint": Kind(inject=hide_checkpoint),
    "move-folder": Kind(inject=move_folder, times=2),
    "four-starts": Kind(inject=start_four),
    "kill-export": Kind(inject=kill_export),
    "limit-file-size-of-worker": Kind(
        inject=lambda e: reach_limit_in_worker(e, RLIMIT_FSIZE, "File too large"), flavour="ray"
    ),
    "limit-open-files-of-worker": Kind(
        inject=lambda e: reach_limit_in_worker(e, RLIMIT_NOFILE, "Too many open files"), flavour="ray"
    ),
    "move-folder-with-ray": Kind(inject=move_folder, flavour="ray"),
    "full-journal-disk": Kind(inject=fill_journal_disk, flavour="disk", times=2),
    "full-trials-disk": Kind(inject=fill_trials_disk, flavour="disk", times=2),
    "full-tracking-disk": Kind(inject=fill_tracking_disk, flavour="tracking-disk"),
    "kill-everything-with-ray": Kind(inject=kill_everything, flavour="ray"),
    "kill-ray-driver": Kind(inject=kill_driver, flavour="ray"),
    "term-ray-driver": Kind(inject=lambda e: end_driver(e, TERM), flavour="ray"),
    "kill-worker": Kind(inject=lambda e: kill_role(e, "worker", KILL), flavour="ray", times=2),
    "term-worker": Kind(inject=lambda e: kill_role(e, "worker", TERM), flavour="ray"),
    "out-of-memory-worker": Kind(inject=kill_largest_worker, flavour="ray"),
    "stop-worker": Kind(inject=lambda e: pause_role(e, "worker", SHORT), flavour="ray"),
    "stop-worker-minute": Kind(inject=lambda e: pause_role(e, "worker", MINUTE), flavour="ray"),
    "kill-head": Kind(inject=lambda e: end_head(e, KILL), flavour="ray"),
    "term-head": Kind(inject=lambda e: end_head(e, TERM), flavour="ray"),
    "stop-head": Kind(inject=lambda e: pause_role(e, "head", SHORT), flavour="ray"),
    "kill-raylet": Kind(inject=lambda e: kill_node(e, KILL), flavour="nodes"),
    "term-raylet": Kind(inject=lambda e: kill_node(e, TERM), flavour="nodes"),
    "stop-raylet-minute": Kind(inject=lambda e: pause_node(e, MINUTE), flavour="nodes"),
}
