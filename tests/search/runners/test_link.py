"""What becomes of a training whose worker, node or patience is lost, decided without a cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.errors import LostClusterError, ResourceError

pytestmark = [pytest.mark.filterwarnings("ignore")]


class FakeWork:
    """Trainings by name."""

    def __init__(self, *keys: str) -> None:
        self.waiting = list(keys)
        self.failed: dict[str, str] = {}
        self.over: set[str] = set()
        self.obeyed = False
        self.stopping = False
        self.num_asked = 0

    def next(self) -> Any:
        from search.runners.assignment import Assignment

        self.num_asked += 1
        if not self.waiting:
            return None
        spec: Any = SimpleNamespace(key=self.waiting.pop(0))
        return Assignment(spec=spec, folder="", num_known_epochs=0)

    def obey(self) -> bool:
        obeyed, self.obeyed = self.obeyed, False
        return obeyed

    def is_over(self, key: str) -> bool:
        return key in self.over

    def fail(self, key: str, reason: str) -> None:
        self.failed[key] = reason

    def report(self, key: str, progress: Any, node: str) -> bool:
        return True

    def tick(self, key: str) -> bool:
        return True


class FakeCluster:
    """A cluster whose nodes come and go as they are told."""

    def __init__(self, room: int = 2, max_failures: int = 2) -> None:
        self.room = room
        self.left: set[str] = set()
        self.own_left = False
        self.address = None
        self.resources = SimpleNamespace(max_failures=max_failures)

    def update_nodes(self) -> None:
        pass

    def limit(self) -> int:
        return self.room

    def has_left(self, node_id: str) -> bool:
        return not node_id or node_id in self.left

    def node_of(self, actor_id: str | None) -> str:
        return actor_id or ""

    def name(self, node_id: str) -> str:
        return f"host/{node_id}"

    def check_own_node(self) -> None:
        if self.own_left:
            raise LostClusterError("lost the Ray cluster")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    from search.runners import ray_link

    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(ray_link.time, "monotonic", lambda: clock.now)
    return clock


def link_of(work: Any, there: Any) -> Any:
    from search.runners.ray_link import Link

    return Link(work, there)


def died(node: str | None = "n1", **fields: Any) -> Exception:
    from ray.exceptions import RayActorError

    return RayActorError(actor_id=node, error_msg="The actor died\nunexpectedly.", **fields)


def send(link: Any, trial: str, epoch: int | None) -> None:
    """A result as it comes from a worker: an epoch, or a tick."""
    from search.runners.ray_tune import Judge

    progress = None if epoch is None else SimpleNamespace(metrics=SimpleNamespace(epoch=epoch))
    result = {"progress": progress, "node": "host/n1"}
    assert Judge(link).on_trial_result(None, SimpleNamespace(trial_id=trial), result) == "CONTINUE"


def as_tune_sees_it(error: Exception, at_start: bool = True) -> Exception:
    """What Tune is told in place of an error that it does not know."""
    from ray.air.execution._internal.tracked_actor import TrackedActor

    from search.runners.ray_link import _ActorManager

    seen: list[Exception] = []
    tracked = TrackedActor("1", on_error=lambda _, error: seen.append(error))  # type: ignore[arg-type]
    manager: Any = object.__new__(_ActorManager)
    vars(manager).update(
        _live_actors_to_ray_actors_resources={}, _failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None
    )
    if at_start:
        manager._actor_start_failed(tracked, error)
    else:
        manager._actor_task_failed(SimpleNamespace(_tracked_actor=tracked, _on_error=tracked._on_error), error)
    return seen[0]


def key(taken: Any) -> str:
    return str(taken.spec.key)


def test_as_many_begin_as_fit_and_nodes_that_join_are_used() -> None:
    there = FakeCluster(room=1)
    link = link_of(FakeWork("a", "b", "c"), there)
    assert key(link.take("1")) == "a"
    assert link.take("2") is None
    there.room = 2
    assert key(link.take("2")) == "b"
    assert link.take("3") is None
    link.drop("1")
    assert key(link.take("3")) == "c"


def test_an_error_is_read_where_the_driver_wrote_it(tmp_path: Path) -> None:
    """Tune's own way looks in the experiment's storage, where a snapshot may bring it, one day."""
    from ray import cloudpickle

    from search.runners.ray_tune import Judge

    work, there = FakeWork("a"), FakeCluster()
    link = link_of(work, there)
    link.take("1")
    there.left = {"n1"}
    file = tmp_path / "error.pkl"
    file.write_bytes(cloudpickle.dumps(died("n1")))
    trial = SimpleNamespace(trial_id="1", pickled_error_file=str(file), get_pickled_error=lambda: None)
    Judge(link).on_trial_error(None, trial)
    assert work.failed == {}
    assert key(link.take("2")) == "a", "it goes on elsewhere"


def test_no_key_of_an_object_store_goes_along_with_a_job() -> None:
    """Each node's log of runtime environments would show it."""
    from ray.tune.execution import class_cache

    from search.runners import ray_tune

    assert ray_tune.class_cache is class_cache
    assert not [name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS" in name]


def test_all_is_over_only_when_nothing_runs_any_more() -> None:
    work = FakeWork("a")
    link = link_of(work, FakeCluster())
    link.take("1")
    assert link.take("2") is None, "a may still be lost"
    assert link.take("2") is None
    assert work.num_asked == 2, "there is no more to be asked for"
    link.drop("1")
    assert link.take("2") == "FINISHED"


def test_a_training_that_ends_or_pauses_may_give_room_to_another_one() -> None:
    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster(room=3))
    link.take("1")
    link.take("2")
    assert link.take("3") is None
    work.waiting.append("a")  # it pauses, and is promoted
    link.drop("1")
    assert key(link.take("3")) == "a"
    assert link.take("4") is None
    link.drop("2")
    link.drop("3")
    assert link.take("4") == "FINISHED"


def test_a_node_that_left_does_not_count(clock: SimpleNamespace) -> None:
    work, there = FakeWork("a"), FakeCluster(max_failures=0)
    link = link_of(work, there)
    for trial, node in enumerate(("n1", "n2", "n3")):
        assert key(link.take(str(trial))) == "a"
        there.left.add(node)
        link.lose(str(trial), died(node))
    assert key(link.take("9")) == "a"
    assert not work.failed


def test_a_training_that_takes_node_after_node_down_fails(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    work, there = FakeWork("a"), FakeCluster(max_failures=0)
    link = link_of(work, there)
    for node in range(1, 10):
        trial = f"{node}"
        assert key(link.take(trial)) == "a"
        # The first epoch of the fifth worker is new; the others tell it again, and begin again with a tick.
        send(link, trial, None)
        if node >= 5:
            send(link, trial, 1)
        there.left.add(f"n{node}")
        link.lose(trial, died(f"n{node}"))
    assert link.take("10") == "FINISHED"
    lost = "its node was lost 5 times without a new epoch; the last one was host/n9: unexpectedly."
    assert work.failed == {"a": lost}
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"lost node host/n{node} (unexpectedly.); its trials continue on other nodes" for node in range(1, 10)
    ]


def test_a_lost_node_is_told_once(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    link = link_of(FakeWork("a", "b"), there := FakeCluster())
    for trial in "12":
        link.take(trial)
    there.left.add("n1")
    for trial in "12":
        link.lose(trial, died())
        assert link.take(f"again {trial}") is not None
    assert len(capsys.readouterr().err.splitlines()) == 1


# Ray names a node where it meant to prepare one, and none where there was no place.
@pytest.mark.parametrize("node", ["n1", None])
def test_a_worker_that_can_never_be_started_ends_the_run_with_the_reason(
    node: str | None, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray.exceptions import ActorUnschedulableError, RuntimeEnvSetupError

    error: Any
    if node:
        error = as_tune_sees_it(RuntimeEnvSetupError("Traceback\n  ...\nOSError: no space for s3://me:secret@store\n"))
        reason = r"OSError: no space for s3://\S*@?store"
    else:
        error, reason = as_tune_sees_it(ActorUnschedulableError("no place")), "The actor is not schedulable: no place"
    error.actor_id = node
    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster(room=1, max_failures=0))

    def fail(times: int) -> None:
        for _ in range(times):
            assert key(link.take("1")) == "a"
            link.lose("1", error)
            clock.now += 2.0

    fail(2)
    assert key(link.take("1")) == "a"
    send(link, "1", None)  # it did begin: it may be lost as often again
    link.lose("1", error)
    clock.now += 2.0
    fail(1)
    assert key(link.take("1")) == "a"
    link.lose("1", error)
    clock.now += 2.0
    with pytest.raises(
        ResourceError, match=rf"could not start a worker 3 times in a row \({reason}\); fix this"
    ) as caught:
        link.take("1")
    assert link.fault is caught.value
    assert not work.failed, "that is not the training's fault"
    told = capsys.readouterr().err
    assert told.count("a worker could not be started (") == 4
    assert "secret" not in told


def test_a_start_that_fails_is_not_tried_again_at_once(clock: SimpleNamespace) -> None:
    link = link_of(FakeWork("a"), FakeCluster())
    link.take("1")
    link.lose("1", died(None))
    clock.now += 1.9
    assert link.take("2") is None
    clock.now += 0.1
    assert key(link.take("2")) == "a"


def test_what_tune_does_not_know_is_a_lost_worker_and_keeps_its_words() -> None:
    from ray.exceptions import ObjectStoreFullError, OutOfMemoryError, RayTaskError

    from search.runners.ray_link import KilledForMemoryError, NotStartedError

    for error, at_start, kind in (
        (ObjectStoreFullError("full"), True, NotStartedError),
        (ObjectStoreFullError("full"), False, type(died())),
        (OutOfMemoryError("full"), True, KilledForMemoryError),
    ):
        seen = as_tune_sees_it(error, at_start)
        assert type(seen) is kind
        assert "full" in str(seen)
    for error in (died(), RayTaskError("step", "", ZeroDivisionError())):
        assert as_tune_sees_it(error) is error


def test_a_death_on_a_living_node_counts_once_it_is_sure(clock: SimpleNamespace) -> None:
    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster(max_failures=1))
    link.take("1")
    link.lose("1", died())
    assert key(link.take("2")) == "b", "the node may be about to go: a waits"
    clock.now += 2.0
    assert key(link.take("3")) == "a"
    link.lose("3", died())
    clock.now += 2.0
    assert link.take("4") is None
    assert work.failed == {"a": "its worker process died 2 times; the last one, on node host/n1, was killed or crashed"}
    link.drop("2")
    assert link.take("4") == "FINISHED"


def test_a_node_that_dies_after_its_worker_does_not_count(clock: SimpleNamespace) -> None:
    work, there = FakeWork("a"), FakeCluster(max_failures=0)
    link = link_of(work, there)
    link.take("1")
    link.lose("1", died())
    clock.now += 1.0
    assert link.take("2") is None
    there.left.add("n1")
    clock.now += 5.0
    assert key(link.take("2")) == "a"
    assert not work.failed


def test_a_worker_killed_for_memory_says_so(clock: SimpleNamespace) -> None:
    from search.runners.ray_link import KilledForMemoryError

    work = FakeWork("a")
    link = link_of(work, FakeCluster(max_failures=0))
    link.take("1")
    link.lose(
        "1",
        KilledForMemoryError(actor_id="n1", error_msg="1 worker(s) were killed"),
    )
    clock.now += 2.0
    assert link.take("2") == "FINISHED"
    assert work.failed == {
        "a": (
            "its worker process died 1 time; the last one, on node host/n1, was killed because the node ran low on "
            "memory"
        )
    }


def test_what_a_training_raises_fails_it_at_once() -> None:
    from ray.exceptions import RayTaskError

    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster(max_failures=5))
    link.take("1")
    link.lose("1", RayTaskError("step", "Traceback\n  ...\n", ZeroDivisionError("by\n zero")))
    assert work.failed == {"a": "ZeroDivisionError: by zero"}
    link.take("2")
    link.lose("2", None)
    assert work.failed["b"] == "lost"


def test_a_worker_that_cannot_begin_ends_the_run_and_names_the_node() -> None:
    link = link_of(FakeWork("a"), FakeCluster())
    link.take("1")
    words = r"node host/n1: a worker cannot start there \(unexpectedly\.\); repair or remove the node"
    with pytest.raises(ResourceError, match=words):
        link.lose("1", died(actor_init_failed=True))
    assert isinstance(link.fault, ResourceError), "kept, as Tune makes a traceback of it"


def test_losing_this_machines_node_is_losing_the_cluster(clock: SimpleNamespace) -> None:
    work, there = FakeWork("a"), FakeCluster(max_failures=0)
    link = link_of(work, there)
    link.take("1")
    there.own_left = True
    link.lose("1", died())
    clock.now += 9.0
    with pytest.raises(LostClusterError):
        link.take("2")
    assert not work.failed


def test_after_an_interrupt_nothing_begins_and_nothing_is_decided(clock: SimpleNamespace) -> None:
    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster(max_failures=0))
    link.take("1")
    link.lose("1", died())
    link.take("2")
    work.stopping = True
    clock.now += 9.0
    assert link.take("3") is None
    link.drop("2")
    assert link.take("3") == "FINISHED"
    assert not work.failed, "it goes on with the next command"


def test_an_interrupt_reaches_those_that_cannot_hear_it(clock: SimpleNamespace) -> None:
    work = FakeWork("a")
    link = link_of(work, FakeCluster())
    running, pending = (SimpleNamespace(status=word, trial_id=word) for word in ("RUNNING", "PENDING"))
    assert link.to_stop([running, pending]) == []
    work.stopping = True
    assert link.to_stop([running, pending]) == [pending]
    clock.now += 4.0
    assert link.to_stop([running]) == [], "it saves itself at its next tick"
    clock.now += 2.0
    assert link.to_stop([running]) == [running], "it gives no sign"


def test_a_run_that_was_given_up_writes_nothing_more() -> None:
    work = FakeWork("a", "b")
    link = link_of(work, FakeCluster())
    link.take("1")
    link.close()
    with pytest.raises(SystemExit):
        link.take("2")
    with pytest.raises(SystemExit):
        link.lose("1", died())
    assert not work.failed


def test_a_training_that_was_stopped_by_hand_is_neither_started_again_nor_waited_for(clock: SimpleNamespace) -> None:
    work = FakeWork("a", "b", "c")
    link = link_of(work, FakeCluster(room=3))
    for trial in ("1", "2", "3"):
        link.take(trial)
    running, pending, other = (
        SimpleNamespace(status=status, trial_id=trial)
        for status, trial in (("RUNNING", "1"), ("PENDING", "2"), ("PENDING", "3"))
    )
    work.over = {"a", "b"}
    assert link.to_stop([running, pending, other]) == [pending], "the running one is closed at its next tick"
    link.lose("1", died())
    clock.now += 9.0
    link.drop("2")
    link.drop("3")
    assert link.take("4") == "FINISHED"
    assert not work.failed


def test_after_a_command_there_may_be_more_to_start(clock: SimpleNamespace) -> None:
    work = FakeWork("a")
    link = link_of(work, FakeCluster())
    link.take("1")
    assert link.take("2") is None
    work.waiting.append("b")
    assert link.take("2") is None, "it asks for no more once there was nothing"
    work.obeyed = True
    assert link.to_stop([]) == []
    assert key(link.take("2")) == "b"
