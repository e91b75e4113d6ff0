"""The invariant holds of a good study and complains of every kind of damage: a check that cannot fail is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from invariant import Place, Trial, best_keys, check_continued, complaints, load_optuna, read_trials
from mlflow import MlflowClient
from world import World

from search.study.load import load_study

pytestmark = pytest.mark.slow

NAME = "good"


@pytest.fixture(scope="module")
def good(world: World, run_here: Callable[[dict[str, Any]], None]) -> Path:
    """Storage folder of an undisturbed sweep with MLflow and ASHA."""
    storage = world.folder / "good"
    world.give_database(storage)
    study = world.study("plain", name=NAME, storage=storage)
    study["search"]["trials"] = 5
    study["resources"] = {"runner": "inline"}
    run_here(study)
    return storage


class Study:
    """A copy of the good study that may be damaged."""

    def __init__(self, storage: Path, reference: Path) -> None:
        self.folder, self.reference = storage / NAME, reference
        self.place = Place(folder=self.folder, tracking_uri=f"sqlite:///{storage}/mlflow.db")
        self.trials = read_trials(self.folder)

    def find(self, *, finished: bool = True, **settings: set[str]) -> list[str]:
        return complaints(self.place, self.reference, finished=finished, **settings)

    def first(self, word: str) -> Trial:
        return next(trial for trial in self.trials.values() if trial.word == word)

    @property
    def lines(self) -> list[str]:
        return (self.folder / "journal.jsonl").read_text().splitlines(keepends=True)

    def write(self, lines: list[str]) -> None:
        (self.folder / "journal.jsonl").write_text("".join(lines))

    def of(self, key: str, event: str) -> list[str]:
        return [line for line in self.lines if json.loads(line).get("key") == key and f'"event":"{event}"' in line]

    def optuna(self) -> optuna.Study:
        return load_optuna(NAME, self.place)

    def run(self, key: str) -> tuple[MlflowClient, str]:
        assert self.place.tracking_uri is not None
        client = MlflowClient(self.place.tracking_uri)
        experiment = client.get_experiment_by_name(NAME)
        assert experiment is not None
        (found,) = client.search_runs([experiment.experiment_id], f"tags.`hybrid_search.key` = '{key}'")
        return client, found.info.run_id


@pytest.fixture
def study(good: Path, world: World, tmp_path: Path) -> Study:
    shutil.copytree(good, tmp_path / "runs")
    return Study(tmp_path / "runs", world.reference("plain"))


def test_a_good_study_gives_no_reason_to_complain(study: Study) -> None:
    words = {trial.word for trial in study.trials.values()}
    assert words == {"completed", "stopped"}, "the scheduler has something to decide"
    assert study.find() == []
    assert study.find(finished=False) == []


def _end_twice(study: Study) -> None:
    study.write([*study.lines, study.of(study.first("completed").key, "end")[0]])


def _tell_twice(study: Study) -> None:
    line = study.of(study.first("completed").key, "epoch")[1]
    lines = study.lines
    study.write([*lines[: lines.index(line)], line, *lines[lines.index(line) :]])


def _lose_epoch(study: Study) -> None:
    line = study.of(study.first("completed").key, "epoch")[1]
    study.write([other for other in study.lines if other != line])


def _lose_end(study: Study) -> None:
    (line,) = study.of(study.first("stopped").key, "end")
    study.write([other for other in study.lines if other != line])


def _begin_twice(study: Study) -> None:
    (line,) = study.of(study.first("stopped").key, "begin")
    study.write([line, *study.lines])


def _lose_trial(study: Study) -> None:
    key = list(study.trials)[-1]
    study.write([line for line in study.lines if json.loads(line).get("key") != key])


def _fail(study: Study) -> None:
    (line,) = study.of(study.first("stopped").key, "end")
    event = {**json.loads(line), "outcome": {"word": "failed", "reason": "lost", "diverged": False, "epoch": None}}
    study.write([json.dumps(event) + "\n" if other == line else other for other in study.lines])


def _change_loss(study: Study) -> None:
    line = study.of(study.first("completed").key, "epoch")[0]
    event = json.loads(line)
    event["metrics"]["train_loss"] += 1e-12
    study.write([json.dumps(event) + "\n" if other == line else other for other in study.lines])


def _change_point(study: Study) -> None:
    (line,) = study.of(study.first("stopped").key, "begin")
    event = json.loads(line)
    event["point"]["lr"] *= 1 + 1e-9
    study.write([json.dumps(event) + "\n" if other == line else other for other in study.lines])


def _change_weight(study: Study) -> None:
    (file,) = (study.folder / "trials" / study.first("completed").key).glob("weights-*")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _judge_otherwise(study: Study) -> None:
    """The first trial, as if it had come last: then it would not have been the best so far."""
    key = next(iter(study.trials))
    lines = [line for line in study.lines if json.loads(line).get("key") == key]
    study.write([*(line for line in study.lines if line not in lines), *lines])


def _leave(name: str) -> Callable[[Study], None]:
    def leave(study: Study) -> None:
        text = name.format(completed=study.first("completed").key, stopped=study.first("stopped").key)
        (study.folder / text).parent.mkdir(parents=True, exist_ok=True)
        (study.folder / text).write_bytes(b"")

    return leave


def _lose_weights(study: Study) -> None:
    key = next(iter(best_keys(load_study(study.folder / "study.yaml"), study.trials)))
    (study.folder / "trials" / key / "weights-0.safetensors").unlink()


def _delete_optuna(study: Study) -> None:
    (study.folder / "optuna.log").unlink()


def _ask_optuna(study: Study) -> None:
    study.optuna().ask()


def _add_to_optuna(study: Study) -> None:
    study.optuna().add_trial(optuna.trial.create_trial(value=1.0))


def _same_digest_in_optuna(study: Study) -> None:
    found = study.optuna()
    trial = found.ask()
    trial.set_user_attr("digest", found.trials[0].user_attrs["digest"])
    found.tell(trial, state=optuna.trial.TrialState.FAIL)


def _change_optuna(study: Study, change: Callable[[optuna.trial.FrozenTrial], None]) -> None:
    """Write Optuna's study again, with each trial changed."""
    found = study.optuna()
    trials, attrs = found.get_trials(), found.user_attrs
    (study.folder / "optuna.log").unlink()
    backend = optuna.storages.journal.JournalFileBackend(str(study.folder / "optuna.log"))
    fresh = optuna.create_study(study_name=NAME, storage=optuna.storages.JournalStorage(backend), direction="maximize")
    for name, value in attrs.items():
        fresh.set_user_attr(name, value)
    for trial in trials:
        change(trial)
        fresh.add_trial(trial)


def _change_optuna_value(study: Study) -> None:
    def change(trial: optuna.trial.FrozenTrial) -> None:
        if trial.state is optuna.trial.TrialState.COMPLETE:
            trial.value = 0.123

    _change_optuna(study, change)


def _change_optuna_curve(study: Study) -> None:
    def change(trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 0:
            trial.intermediate_values[7] = trial.intermediate_values.pop(1)

    _change_optuna(study, change)


def _run_again(trial: optuna.trial.FrozenTrial) -> None:
    trial.state, trial.values, trial.datetime_complete = optuna.trial.TrialState.RUNNING, None, None


def _lose_optuna_state(study: Study) -> None:
    _change_optuna(study, _run_again)


def _lose_optuna_parameters(study: Study) -> None:
    def change(trial: optuna.trial.FrozenTrial) -> None:
        if trial.number == 0:
            trial.params, trial.distributions = {}, {}

    _change_optuna(study, change)


def _change_optuna_parameter(study: Study) -> None:
    def change(trial: optuna.trial.FrozenTrial) -> None:
        choices = {name: item.choices for name, item in trial.distributions.items() if hasattr(item, "choices")}
        if trial.number == 0:
            name, values = next((name, values) for name, values in choices.items() if len(values) > 1)
            trial.params[name] = next(value for value in values if value != trial.params[name])

    _change_optuna(study, change)


def _run_for_ever(study: Study) -> None:
    client, run = study.run(study.first("stopped").key)
    client.update_run(run, status="RUNNING")


def _sweep_for_ever(study: Study) -> None:
    client, run = study.run("sweep")
    client.update_run(run, status="RUNNING")


def _delete_run(study: Study) -> None:
    client, run = study.run(study.first("stopped").key)
    client.delete_run(run)


def _double_run(study: Study) -> None:
    client, run = study.run(study.first("stopped").key)
    found = client.get_run(run)
    copy = client.create_run(found.info.experiment_id, tags=found.data.tags)
    client.set_terminated(copy.info.run_id)


def _log_twice(study: Study) -> None:
    client, run = study.run(study.first("completed").key)
    client.log_metric(run, "val_accuracy", 0.5, step=1, timestamp=1)


def _other_outcome(study: Study) -> None:
    client, run = study.run(study.first("stopped").key)
    client.set_tag(run, "hybrid_search.outcome", "completed")


DAMAGE: dict[str, tuple[Callable[[Study], None], str]] = {
    "an end twice": (_end_twice, "has an end after its end"),
    "an epoch twice": (_tell_twice, "tells epoch 2 where 3 is due"),
    "an epoch lost": (_lose_epoch, "tells epoch 3 where 2 is due"),
    "an end lost": (_lose_end, "has no end"),
    "a begin twice": (_begin_twice, "begins twice"),
    "a trial lost": (_lose_trial, "4 trials, 5 were asked for"),
    "a trial failed": (_fail, "failed: lost"),
    "a loss changed": (_change_loss, "differs in train_loss of epoch 1"),
    "a point changed": (_change_point, "has another point there"),
    "a weight changed": (_change_weight, "another weights-0.safetensors: not the same bit for bit"),
    "another decision": (_judge_otherwise, "scheduler: trial"),
    "a checkpoint left": (_leave("trials/{completed}/checkpoint.pt"), "checkpoint.pt is left over"),
    "half a checkpoint left": (_leave("trials/{completed}/.checkpoint.pt.123"), ".checkpoint.pt.123 is left over"),
    "a loser's weights left": (_leave("trials/{stopped}/weights-0.safetensors"), "safetensors is left over"),
    "Ray's files left": (_leave("ray/tune/x.json"), "disk: ray is left over"),
    "the best weights lost": (_lose_weights, "weights-0.safetensors is missing"),
    "Optuna's study lost": (_delete_optuna, "optuna: there is no such study"),
    "a trial running in Optuna": (_ask_optuna, "is RUNNING"),
    "a stranger in Optuna": (_add_to_optuna, "is COMPLETE and nobody's"),
    "a point twice in Optuna": (_same_digest_in_optuna, "is there 2 times"),
    "another value in Optuna": (_change_optuna_value, "has value 0.123"),
    "another curve in Optuna": (_change_optuna_curve, "optuna: trial 0 has curve"),
    "ends lost in Optuna": (_lose_optuna_state, "is RUNNING where the journal says"),
    "parameters lost in Optuna": (_lose_optuna_parameters, "optuna: trial 0 has other parameters"),
    "another parameter in Optuna": (_change_optuna_parameter, "optuna: trial 0 has other parameters"),
    "a run that runs": (_run_for_ever, "is RUNNING"),
    "a sweep that runs": (_sweep_for_ever, "the run for sweep is RUNNING"),
    "a run lost": (_delete_run, "mlflow: 0 runs for"),
    "a run twice": (_double_run, "mlflow: 2 runs for"),
    "a value twice in MLflow": (_log_twice, "has curve"),
    "another outcome in MLflow": (_other_outcome, "is FINISHED, completed, where the journal says stopped"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(study: Study, name: str) -> None:
    hurt, words = DAMAGE[name]
    hurt(study)
    found = study.find()
    assert any(words in line for line in found), found


def test_what_was_not_over_is_judged_only_when_the_sweep_is(study: Study) -> None:
    _lose_end(study)
    assert study.find(finished=False) == []


def test_trials_with_smaller_batches_may_differ(study: Study) -> None:
    _change_loss(study)
    assert study.find(exempt={study.first("completed").key}) == []


def test_trials_that_must_fail_may(study: Study) -> None:
    _fail(study)
    assert not any("failed: lost" in line for line in study.find(may_fail={study.first("stopped").key}))


def test_a_line_that_a_crash_cut_does_not_count(study: Study) -> None:
    path = study.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event":"epo\x18\n' + b'{"event":"en')
    assert study.find() == []


def _steps(epoch: int, first: int = 1, last: int = 3) -> list[list[object]]:
    return [["step", "a", epoch, number, 17] for number in range(first, last + 1)]


TOLD = [*_steps(1), ["told", "a", 1, 18]]
TRACES: dict[str, tuple[list[list[object]], int, str]] = {
    "undisturbed": ([*TOLD, *_steps(2), ["told", "a", 2, 18]], 2, ""),
    "the epoch that was hit comes again": ([*TOLD, *_steps(2, last=2), *_steps(2), ["told", "a", 2, 18]], 2, ""),
    "a told epoch comes again": ([*TOLD, *_steps(2, last=2), *_steps(1)], 1, "step 1 of epoch 1 again"),
    "a saved step comes again": ([*_steps(1, last=2), ["saved", "a"], *_steps(1, first=2)], 1, "step 2 of epoch 1"),
    "it goes on after the saved step": ([*_steps(1, last=2), ["saved", "a"], *_steps(1, first=3)], 1, ""),
    "killed and saved": ([*_steps(1), *_steps(1, last=1), ["saved", "a"], *_steps(1, first=2)], 1, ""),
    "saved and killed": ([*_steps(1, last=2), ["saved", "a"], *_steps(1, first=3), *_steps(1, first=3)], 1, ""),
    "killed, and nothing done until saved": (
        [*TOLD, *_steps(2, last=2), ["cut", ""], ["saved", "a"], *_steps(2), ["told", "a", 2, 18]],
        2,
        "",
    ),
    "what was lost comes again": ([*TOLD, ["lost", "a"], *_steps(1), ["told", "a", 1, 18]], 1, ""),
    "what was not lost again": ([*TOLD, ["lost", "a"], *TOLD, *_steps(1)], 1, "step 1 of epoch 1 again"),
    "another trial's loss": ([*TOLD, ["lost", "b"], *_steps(1)], 1, "step 1 of epoch 1 again"),
    "nothing was seen": ([], 1, "nobody was seen to train epoch 1 of trial a"),
}


@pytest.mark.parametrize("name", TRACES)
def test_what_is_trained_again_is_found(name: str) -> None:
    trace, num_epochs, words = TRACES[name]
    trial = Trial(key="a", number=0, point={}, curve=[{"epoch": epoch + 1} for epoch in range(num_epochs)])
    found = list(check_continued(trace, {"a": trial}))
    assert len(found) == bool(words), found
    assert not words or words in found[0]
