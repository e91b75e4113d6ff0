"""`compare --until-decided` and declared interim analyses on tiny studies, and every way to be cut off.

Trainings are pretended, but for one slow test: a CNN gets right as many images as its learning rate deserves.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from search.cli import main
from search.compare import run as running
from search.compare.interim import undecided
from search.compare.results import pair_names
from search.console.progress import Display
from search.data.store import open_data
from search.errors import DivergedError, InputError, InterruptedStudyError, StudyError, TooManyFailuresError
from search.export.pick import pick_winner
from search.journal.comparison_file import to_dict
from search.journal.journal import Journal
from search.journal.nominee import NOMINATED, PROVISIONAL
from search.journal.reading import read_events, read_records
from search.records import Completed, EpochMetrics, Progress, TrialRecord, TrialResult
from search.report.overview import make_overview
from search.report.status_lines import to_lines
from search.runners import inline
from search.runners.assignment import Assignment
from search.significance.declared import Declared
from search.significance.judge import judge_results
from search.significance.records import Verdict
from search.significance.results import Results
from search.study.config import StudyConfig
from search.study.folder import claim_folder
from search.training.spec import TrialSpec

pytestmark = pytest.mark.usefixtures("undrawn", "copied_here")

MakeStudy = Callable[..., StudyConfig]
GOOD, ALIKE, HOPELESS, WORSE = 0.01, 0.011, 1e-7, 1e-8
SKILL = {GOOD: 0.9, ALIKE: 0.9, HOPELESS: 0.2, WORSE: 0.1}
"""Learning rate -> share of the images that it gets right, in the mean."""
NUM_VAL = 40
TINY = {"data": {"name": "digits", "limit": 60}}


@dataclasses.dataclass
class Pretence:
    """What stands in for training."""

    epochs: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    """(key, epoch) of all that was trained."""
    trouble: Callable[[TrialSpec], None] = lambda _: None
    """Raises where a training shall."""
    diverges: Callable[[TrialSpec, int], bool] = lambda *_: False
    """Whether a training diverges in an epoch."""
    test_skill: dict[float, float] = dataclasses.field(default_factory=lambda: dict(SKILL))
    """As SKILL, of the test images alone."""

    def run(self, assignment: Assignment, device: str) -> Iterator[Progress]:
        """What `run_assignment` does, at no cost; known epochs are told again, as from a checkpoint."""
        spec = assignment.spec
        self.trouble(spec)
        folder = Path(assignment.folder)
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(int(spec.key, 16))
        correct = rng.random((1, open_data(spec.data).num_test)) < self.test_skill[spec.train.lr]
        for epoch in range(1, spec.train.epochs + 1):
            if self.diverges(spec, epoch):
                raise DivergedError(epoch, float("nan"))
            if epoch > assignment.num_known_epochs:
                self.epochs.append((spec.key, epoch))
            result = None
            if epoch == spec.train.epochs:
                np.save(folder / "correct.npy", np.packbits(correct, axis=1))
                result = TrialResult(test_accuracy=float(correct.mean()), artifacts={"correct": "correct.npy"})
            yield Progress(
                metrics=EpochMetrics(
                    epoch=epoch,
                    train_loss=1.0,
                    train_accuracy=0.5,
                    val_loss=1.0,
                    val_accuracy=float(rng.binomial(NUM_VAL, SKILL[spec.train.lr]) / NUM_VAL),
                    learning_rate=spec.train.lr,
                    elapsed_secs=0.1,
                    num_images=30,
                ),
                result=result,
            )


@pytest.fixture
def pretence(monkeypatch: pytest.MonkeyPatch) -> Pretence:
    """Nothing is trained from here on."""
    made = Pretence()
    monkeypatch.setattr(inline, "run_assignment", made.run)
    return made


@pytest.fixture
def nominate(
    make_record: Callable[..., TrialRecord], make_epoch: Callable[..., EpochMetrics], cnn: dict[str, Any]
) -> Callable[..., StudyConfig]:
    """Write trials of the CNN, by learning rate, into the study's journal, as a sweep would; best first."""

    def write(study: StudyConfig, *rates: float) -> StudyConfig:
        with Journal(claim_folder(study)) as journal:
            for number, rate in enumerate(rates):
                key = f"trial{number}"
                journal.begin(make_record(key, number=number, point={**cnn, "lr": rate}))
                journal.epoch(key, make_epoch(1, 0.9 - 0.01 * number), "here")
                journal.end(key, Completed())
        return study

    return write


@pytest.fixture
def study(
    make_study: MakeStudy, nominate: Callable[..., StudyConfig], cnn: dict[str, Any], pretence: Pretence
) -> StudyConfig:
    """A finalist that learns, a baseline that cannot and one that is much like the finalist."""
    baselines = [{**cnn, "lr": HOPELESS}, {**cnn, "lr": ALIKE}]
    made = make_study(
        "train.epochs=2",
        compare={"baselines": baselines, "repeats": 8, "confirm": 3},
        **TINY,
    )
    return nominate(made, GOOD)


def run_until_decided(study: StudyConfig) -> dict[str, Any]:
    """Race and confirm; what comparison.json then holds."""
    return to_dict(running.run_until_decided(study))


def run_compare(study: StudyConfig) -> dict[str, Any]:
    """Compare; what comparison.json then holds."""
    return to_dict(running.run_compare(study))


def blocks_of(study: StudyConfig) -> dict[str, list[str]]:
    """Configuration -> the blocks that it was trained on."""
    found: dict[str, list[str]] = {}
    for record in read_records(study.folder).values():
        if record.kind == "repeat":
            found.setdefault(record.label.rpartition(", ")[0], []).extend(record.blocks)
    return found


def change(study: StudyConfig, name: str = "", **settings: Any) -> StudyConfig:
    """The same study compared otherwise, or under another name."""
    compare = study.compare.model_copy(update=settings)
    return study.model_copy(update={"compare": compare, **({"name": name} if name else {})})


def e_value(diff: NDArray[np.float64]) -> float:
    """The t-test e-process with g = 1, by hand."""
    n, t2 = len(diff), len(diff) * diff.mean() ** 2 / diff.var(ddof=1)
    return float((1 + n) ** -0.5 * ((1 + t2 / (n - 1)) / (1 + t2 / ((n - 1) * (1 + n)))) ** (n / 2))


def test_race_drop_confirm(study: StudyConfig, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_until_decided(study)
    finalist, hopeless, alike = (item["name"] for item in document["race"]["contenders"])
    race = document["race"]
    first, second = race["pairs"]
    assert (first["outcome"], first["winner"], first["loser"]) == ("decided", finalist, hopeless)
    assert first["e_values"][-1] >= first["needed"] == 40
    assert (second["outcome"], second["after"], second["num_blocks"]) == ("undecided", None, 8)
    assert second["needed"] == 20
    assert len(second["e_values"]) == 7
    dropped_after = first["after"]
    assert dropped_after < 8
    # The loser is trained on no further block of the race; everybody is confirmed on blocks that nobody has seen.
    raced = [f"compare-{index}" for index in range(8)]
    fresh = [f"confirm-{index}" for index in range(3)]
    assert blocks_of(study) == {
        finalist: raced + fresh,
        hopeless: raced[:dropped_after] + fresh,
        alike: raced + fresh,
    }
    assert [(item["num_blocks"], item["num_won"], item["dropped_after"]) for item in race["contenders"]] == [
        (8, 1, None),
        (dropped_after, 0, dropped_after),
        (8, 0, None),
    ]
    assert (race["survivor"], race["num_blocks"], race["max_blocks"]) == (finalist, 8, 8)
    assert race["scores"] == "validation accuracy"
    for item in race["contenders"]:
        assert item["mean_val_accuracy"] == pytest.approx(np.mean([run["val_accuracy"] for run in item["repeats"]]))
        assert "test_accuracy" not in json.dumps(item)
    assert [block["name"] for block in document["blocks"]] == fresh
    assert [[run["block"] for run in item["repeats"]] for item in document["contenders"]] == [fresh] * 3
    assert [(item["a"], item["b"]) for item in document["comparisons"]] == [(finalist, hopeless), (finalist, alike)]
    assert {item["num_blocks"] for item in document["comparisons"]} == {3}
    assert document["declared"]["confirm"] == 3
    told = "\n".join(to_lines(make_overview(study), is_verbose=True))
    assert "race        Raced on validation accuracy: 8 repeats of at most 8." in told
    # Nothing is shown against the one that is alike, so the survivor stays what it was.
    assert (pick_winner(study).name, pick_winner(study).state) == (finalist, NOMINATED)
    for pair in race["pairs"]:
        scores = {item["name"]: [run["val_accuracy"] for run in item["repeats"]] for item in race["contenders"]}
        n = pair["num_blocks"]
        diff = np.subtract(scores[pair["a"]][:n], scores[pair["b"]][:n])
        assert pair["e_values"][-1] == pytest.approx(e_value(diff))

    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"race: remaining: {finalist}, {hopeless}, {alike}" in shown.err
    assert "race, repeats 1 to 6 of at most 8, 3 configurations left: 18/18 repeats" in shown.err
    assert f"race, repeat {dropped_after + 1} of at most 8, 2 configurations left" in shown.err
    assert f"{finalist} beat {hopeless} after {dropped_after} repeats (E = " in shown.err
    assert f"confirm {finalist} on fresh repeats: 9/9 repeats" in shown.err

    (note,) = [event for event in read_events(study.folder / "journal.jsonl") if event["event"] == "comparison"]
    repeats = [key for key, record in read_records(study.folder).items() if record.kind == "repeat"]
    assert sorted(note["repeats"]) == sorted(repeats)
    assert note["metrics"]["num_race_blocks"] == 8
    (pair,) = pair_names([("", finalist, hopeless)])
    assert note["metrics"][f"race_e: {pair}"] == first["e_values"][-1]
    assert "dropped" in note["tags"]["race.1"]
    table = (study.folder / "comparison" / "table.md").read_text()
    assert f"| {finalist} | {hopeless} | {dropped_after} |" in table
    assert f"Survivor: {finalist}, judged on the test images and 3 fresh repeats, which the race did not use:" in table
    written = json.loads((study.folder / "comparison" / "comparison.json").read_text())
    assert written == json.loads(json.dumps(document))


def test_the_command_again_trains_nothing_and_says_the_same(study: StudyConfig, pretence: Pretence) -> None:
    document = run_until_decided(study)
    pretence.epochs.clear()
    assert run_until_decided(study) == document
    assert pretence.epochs == []


def kill_often(monkeypatch: pytest.MonkeyPatch, killed: type[BaseException], *, every: int) -> None:
    """Let the command die after every so many changes that the display hears of."""
    changes = 0
    update = Display.update

    def kill(self: Display) -> None:
        nonlocal changes
        update(self)
        changes += 1
        if changes % every == 0:
            raise killed

    monkeypatch.setattr(Display, "update", kill)


def run_until_it_ends(study: StudyConfig, killed: type[BaseException]) -> tuple[dict[str, Any], int]:
    """The same command again and again: what it finds, and how often it died on the way."""
    for kills in range(200):
        try:
            return run_until_decided(study), kills
        except killed:
            continue
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize(
    "every", [pytest.param(2, marks=pytest.mark.slow), 7, pytest.param(17, marks=pytest.mark.slow)]
)
def test_killed_at_any_moment_it_ends_alike(
    study: StudyConfig,
    nominate: Callable[..., StudyConfig],
    killed: type[BaseException],
    pretence: Pretence,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
) -> None:
    calm = run_until_decided(study)
    trained = list(pretence.epochs)
    pretence.epochs.clear()
    kill_often(monkeypatch, killed, every=every)
    document, kills = run_until_it_ends(nominate(change(study, name="cut"), GOOD), killed)
    assert kills >= 60 // every
    assert pretence.epochs == trained
    assert {**document, "study": "tiny"} == calm
    assert all(count == 1 for count in Counter(trained).values())


@pytest.mark.slow
def test_killed_in_earnest_it_ends_alike(
    make_study: MakeStudy,
    nominate: Callable[..., StudyConfig],
    cnn: dict[str, Any],
    killed: type[BaseException],
    count_epochs: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"baselines": [{**cnn, "lr": HOPELESS}], "repeats": 10, "confirm": 3}
    study = make_study("train.epochs=6", compare=options)
    calm = run_until_decided(nominate(study, GOOD))
    assert calm["race"]["pairs"][0]["outcome"] == "decided"
    trained = list(count_epochs)
    count_epochs.clear()
    kill_often(monkeypatch, killed, every=7)
    document, kills = run_until_it_ends(nominate(change(study, name="cut"), GOOD), killed)
    assert kills > 4
    assert count_epochs == trained
    assert {**document, "study": "tiny"} == calm


def test_more_blocks_go_on_with_the_same_race(study: StudyConfig, pretence: Pretence) -> None:
    short = run_until_decided(change(study, repeats=6))
    pretence.epochs.clear()
    long = run_until_decided(study)
    # Two more blocks of the two that were still in; the same survivor is on the same fresh blocks.
    assert len(pretence.epochs) == 2 * 2 * 2
    assert long["race"]["pairs"][1]["e_values"][:5] == short["race"]["pairs"][1]["e_values"]
    assert long["comparisons"][0]["estimate"] == short["comparisons"][0]["estimate"]
    # The verdicts rest on the same fresh blocks, which were seen before the race went on.
    assert (short["num_looks"], long["num_looks"]) == (1, 2)


@pytest.mark.slow
def test_a_race_is_a_look_at_the_blocks_of_a_comparison_and_none_at_fresh_ones(study: StudyConfig) -> None:
    ordinary = run_compare(change(study, repeats=6))
    raced = run_until_decided(change(study, repeats=6))
    again = run_compare(change(study, repeats=7))
    assert (ordinary["num_looks"], raced["num_looks"], again["num_looks"]) == (1, 1, 3)
    assert "undeclared" not in "".join(item["sentence"] for item in raced["comparisons"])
    assert "This is analysis 3 of these repeats, undeclared" in again["comparisons"][1]["sentence"]
    assert ordinary["num_looks"] == run_compare(change(study, repeats=6))["num_looks"]


def test_too_few_blocks_to_decide_anything_are_refused_before_training(study: StudyConfig) -> None:
    with pytest.raises(
        InputError, match=(r"compare\.repeats: 5 repeats cannot decide any of 2 pairs, .* use at least 6")
    ):
        run_until_decided(change(study, repeats=5))
    assert blocks_of(study) == {}


def test_a_family_too_large_for_the_blocks_is_said(study: StudyConfig, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = (("finalist-1", "baseline-1"), ("baseline-2", "baseline-1"))
    family = {"two": pairs, "one": (("finalist-1", "baseline-2"),)}
    document = run_until_decided(change(study, repeats=5, family=family))
    assert (
        "5 repeats cannot decide any of 2 pairs of family two, however large the difference; use at"
    ) in capsys.readouterr().err
    assert [pair["outcome"] for pair in document["race"]["pairs"][:2]] == ["undecided", "undecided"]


def test_few_blocks_to_confirm_are_said_before_training(study: StudyConfig, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_until_decided(change(study, repeats=6, confirm=2))
    assert (
        "compare.confirm: 2 cannot lead to a verdict, whatever the results; with compare.estimand new-data and"
        in capsys.readouterr().err
    )
    assert {item["verdict"] for item in document["comparisons"]} == {"refused"}


def test_a_baseline_that_beats_the_finalists_is_confirmed(
    make_study: MakeStudy, nominate: Callable[..., StudyConfig], cnn: dict[str, Any], pretence: Pretence
) -> None:
    options = {"baselines": [{**cnn, "lr": GOOD}], "repeats": 6, "confirm": 3, "finalists": 2}
    study = make_study("train.epochs=2", compare=options, **TINY)
    document = run_until_decided(nominate(study, HOPELESS, WORSE))
    first, second, baseline = (item["name"] for item in document["race"]["contenders"])
    assert document["race"]["survivor"] == baseline
    assert {pair["loser"] for pair in document["race"]["pairs"]} == {first, second}
    assert [(item["a"], item["b"]) for item in document["comparisons"]] == [(first, baseline), (second, baseline)]
    assert {item["verdict"] for item in document["comparisons"]} == {"worse"}
    winner = pick_winner(study)
    assert (winner.name, winner.record.blocks, winner.state) == (baseline, ("confirm-0",), PROVISIONAL)


def test_named_families_are_raced_and_confirmed_apart(
    make_study: MakeStudy, nominate: Callable[..., StudyConfig], cnn: dict[str, Any], pretence: Pretence
) -> None:
    options = {
        "baselines": [{**cnn, "lr": HOPELESS}, {**cnn, "lr": WORSE}],
        "repeats": 5,
        "confirm": 3,
        "family": {
            "wins": [["finalist-1", "baseline-1"]],
            "controls": [["baseline-2", "baseline-1"]],
            "more": [["finalist-1", "baseline-2"]],
        },
    }
    study = make_study("train.epochs=2", compare=options, **TINY)
    document = run_until_decided(nominate(study, GOOD))
    finalist, one, two = (item["name"] for item in document["race"]["contenders"])
    assert [(pair["family"], pair["needed"]) for pair in document["race"]["pairs"]] == [
        ("wins", 20),
        ("controls", 20),
        ("more", 20),
    ]
    assert [item["name"] for item in document["declared"]["families"]] == ["wins", "controls", "more"]
    families = document["confirmed"]
    assert [(item["name"], item["pairs"]) for item in families] == [
        ("wins", [[finalist, one]]),
        ("more", [[finalist, two]]),
    ]
    assert [(item["family"], item["family_size"]) for item in document["comparisons"]] == [("wins", 1), ("more", 1)]
    table = (study.folder / "comparison" / "table.md").read_text()
    assert f"| wins | {finalist} | {one} |" in table


@pytest.mark.slow
def test_what_was_lost_is_tried_again_before_the_race_goes_on(
    study: StudyConfig, pretence: Pretence, nominate: Callable[..., StudyConfig]
) -> None:
    def lose(spec: TrialSpec) -> None:
        if spec.train.lr == HOPELESS and spec.blocks[0].name == "compare-3":
            raise RuntimeError("the node went away")

    pretence.trouble = lose
    with pytest.raises(TooManyFailuresError, match="1 of 18 repeats were lost, and the race cannot continue") as caught:
        run_until_decided(study)
    assert "compare-3: RuntimeError: the node went away" in caught.value.faults[1]
    assert not (study.folder / "comparison").exists()
    pretence.trouble = lambda _: None
    document = run_until_decided(study)
    calm = run_until_decided(nominate(change(study, name="calm"), GOOD))
    assert {**calm, "study": "tiny"} == document


def test_divergence_counts_as_an_outcome(study: StudyConfig, pretence: Pretence) -> None:
    def diverge(spec: TrialSpec) -> None:
        if spec.train.lr == HOPELESS:
            raise DivergedError(1, float("nan"))

    pretence.trouble = diverge
    document = run_until_decided(study)
    finalist, hopeless, _ = document["race"]["contenders"]
    pair = document["race"]["pairs"][0]
    assert (pair["outcome"], pair["loser"]) == ("decided", hopeless["name"])
    assert hopeless["num_diverged"] == hopeless["num_blocks"] == pair["after"]
    # Nothing finite is left: every repeat counts as chance.
    scores = np.array([run["val_accuracy"] for run in finalist["repeats"][: pair["after"]]])
    assert pair["e_values"][-1] == pytest.approx(e_value(scores - 0.1))
    # The confirmation judges as ever: without the diverged repeats nothing is left to say so.
    assert document["comparisons"][0]["verdict"] == "inconclusive"


def test_divergence_counts_with_the_last_finite_validation(study: StudyConfig, pretence: Pretence) -> None:
    pretence.diverges = lambda spec, epoch: spec.train.lr == HOPELESS and epoch == 2
    document = run_until_decided(study)
    finalist, hopeless, _ = document["race"]["contenders"]
    pair = document["race"]["pairs"][0]
    n = pair["num_blocks"]
    assert hopeless["num_diverged"] == hopeless["num_blocks"] == n
    known = [run["val_accuracy"] for run in hopeless["repeats"]]
    assert None not in known
    assert np.std(known) > 0
    diff = np.subtract([run["val_accuracy"] for run in finalist["repeats"][:n]], known)
    assert pair["e_values"][-1] == pytest.approx(e_value(diff))


def test_the_test_images_choose_nobody(
    study: StudyConfig, pretence: Pretence, nominate: Callable[..., StudyConfig]
) -> None:
    calm = run_until_decided(study)
    pretence.test_skill |= {GOOD: 0.1, HOPELESS: 0.9}
    document = run_until_decided(nominate(change(study, name="other"), GOOD))
    assert document["race"] == calm["race"]
    assert [item["verdict"] for item in calm["comparisons"]] == ["better", "inconclusive"]
    assert [item["verdict"] for item in document["comparisons"]] == ["worse", "worse"]


def test_without_a_validation_part_it_is_refused_before_anything(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.runners.checks.open_data", lambda *_, **__: pytest.fail("decodes images"))
    study = make_study("split.method=none", compare={"baselines": ["ecrnn/cnn"]}, **TINY)
    with pytest.raises(
        StudyError, match=r"^split\.method: expected random or stratified with --until-decided, found none; [^\n]+$"
    ):
        run_until_decided(study)
    assert not study.folder.exists()


def test_only_the_document_is_on_standard_output(
    study: StudyConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("compare", study.folder, "--until-decided", "--repeats", 6, "--set", "compare.confirm=3", "--json")
    monkeypatch.setattr(sys, "argv", ["hybrid-search", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["race"]["max_blocks"] == 6
    assert "race, repeats 1 to 6 of at most 6" in shown.err


def declared(study: StudyConfig, **settings: Any) -> StudyConfig:
    """The same study with three interim analyses after five repeats each."""
    return change(study, **{"repeats": 15, "interim": 3, "estimand": "this-data", **settings})


def test_a_clear_difference_ends_at_the_first_interim_analysis(
    study: StudyConfig, pretence: Pretence, capsys: pytest.CaptureFixture[str]
) -> None:
    study = declared(study, baselines=study.compare.baselines[:1])
    document = run_compare(study)
    assert [block["name"] for block in document["blocks"]] == [f"compare-{index}" for index in range(5)]
    (found,) = document["comparisons"]
    assert (found["verdict"], found["interim"], document["num_looks"]) == ("better", [1, 3], 1)
    assert "Analysis 1 of 3 as declared" in found["sentence"]
    assert document["declared"]["interim"] == 3
    trained = len(pretence.epochs)
    assert run_compare(study) == document  # the same analyses, none of them counted again
    assert len(pretence.epochs) == trained
    assert "continues" not in capsys.readouterr().err
    # Whoever goes on after all has looked twice.
    longer = run_compare(change(study, interim=None))
    assert (len(longer["blocks"]), longer["num_looks"]) == (15, 2)
    assert "analysis 2 of these repeats, undeclared" in longer["comparisons"][0]["sentence"]
    assert longer["key"] != document["key"]


def test_an_open_comparison_goes_on_to_the_last_analysis(
    study: StudyConfig, pretence: Pretence, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run_compare(declared(study))
    assert len(document["blocks"]) == 15
    assert [item["interim"] for item in document["comparisons"]] == [[3, 3]] * 2
    assert document["comparisons"][0]["verdict"] == "better"
    said = capsys.readouterr().err
    for look in (1, 2):
        assert f"declared analysis {look} of 3, after {5 * look} repeats: 1 of 2 comparisons undecided (" in said
    assert said.count("), so training continues") == 2


def test_a_declared_analysis_that_was_seen_counts_for_another_declaration(
    study: StudyConfig, pretence: Pretence
) -> None:
    assert run_compare(declared(study))["num_looks"] == 1, "its own analyses are part of the declaration"
    again = run_compare(change(declared(study), interim=None))
    assert again["num_looks"] == 4, "two that did not decide, and the last one"
    assert "analysis 4 of these repeats, undeclared" in again["comparisons"][0]["sentence"]


def test_an_analysis_without_a_verdict_ends_nothing(study: StudyConfig) -> None:
    section = declared(study).compare
    scores, noisy = np.full(5, 0.5), 0.5 + 0.001 * np.arange(5)
    (found,) = judge_results(
        [
            Results(
                configs=("a", "b"), blocks=dict.fromkeys("ab", tuple("01234")), scores={"a": noisy + 0.3, "b": scores}
            )
        ],
        [("a", "b")],
        Declared(estimand="this-data", interim=(1, 3)),
    )
    assert found.verdict is Verdict.BETTER
    assert undecided(section, 5, [found]) is None
    kept = dataclasses.replace(found, verdict=Verdict.INCONCLUSIVE)
    assert kept.adjusted_p is not None
    assert kept.adjusted_p < 0.05
    assert "1 of 1 comparison undecided (a against b)" in (undecided(section, 5, [kept]) or "")


def test_a_comparison_killed_between_analyses_ends_alike(
    study: StudyConfig, nominate: Callable[..., StudyConfig], pretence: Pretence
) -> None:
    calm = run_compare(nominate(declared(study, name="calm"), GOOD))
    study, left = declared(study), [25]

    def pull_the_plug(_: TrialSpec) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    pretence.trouble = pull_the_plug
    with pytest.raises(InterruptedStudyError):
        run_compare(study)
    assert run_compare(study)["comparisons"] == calm["comparisons"]


def test_interim_analyses_and_a_race_are_two_ways(study: StudyConfig) -> None:
    with pytest.raises(StudyError, match=r"^compare\.interim: expected none with --until-decided, [^\n]+ found 3; "):
        run_until_decided(declared(study))
