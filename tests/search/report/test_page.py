"""The page: whole at every stage of a study, safe against every name, and never bolder than the evidence."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from search.errors import InputError
from search.journal.journal import Journal
from search.records import Completed
from search.report.material import gather
from search.report.page import TITLES, make_page
from search.significance import Comparison, Verdict
from search.study.config import StudyConfig

Told = Callable[..., StudyConfig]
Judged = Callable[..., list[Comparison]]


@pytest.fixture
def study(make_study: Callable[..., StudyConfig]) -> StudyConfig:
    """A study without a folder yet."""
    return make_study()


@pytest.fixture
def shown(parse: Any) -> Callable[[StudyConfig], Any]:
    """Read the report of a study."""
    return lambda study: parse(make_page(gather(study)))


def check(page: Any) -> None:
    """What holds for every page."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in page.all("a")]
    assert set(links) <= {f"#{name}" for name in ids}
    assert links[1:] == [f"#{name}" for name in TITLES if name in ids]
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert all(len(attributes["alt"]) > 20 for attributes in page.all("img"))
    assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.all("img"))
    regions = [attributes["aria-label"] for attributes in page.all("div") if attributes.get("role") == "region"]
    assert len(regions) == len(set(regions))
    assert not page.all("link", "iframe", "object", "base")
    assert all("src" not in attributes for attributes in page.all("script"))
    assert len(page.figures) == len(page.all("figure")) == len(page.all("img"))
    assert not any("<" in text for text in page.data)  # an end tag in there would end the script
    libraries = [text for kind, text in page.typed_scripts if kind == "application/gzip"]
    assert [gzip.decompress(base64.b64decode(text)) for text in libraries] == [b"// plotly.js v0"] * bool(page.figures)
    assert page.all("html")[0]["lang"] == "en"
    assert "viewport" in [attributes.get("name") for attributes in page.all("meta")]
    assert not re.search(r"\b(nan|None|inf)\b", page.words.replace("the loss was nan", ""))


def test_a_study_that_only_began(study: StudyConfig, told: Told, shown: Any) -> None:
    page = shown(told(study))
    check(page)
    assert "No trial has finished yet." in page.words
    assert not page.figures


def test_repeats_alone_are_counted(study: StudyConfig, told: Told, shown: Any, make_record: Any) -> None:
    told(study)
    with Journal(study.folder) as journal:
        journal.begin(make_record("r", kind="repeat"))
        journal.end("r", Completed())
    (study.folder / "reproduction").mkdir()
    (study.folder / "reproduction" / "table.md").write_text("a table")
    page = shown(study)
    check(page)
    assert "1 repeat trained, but no comparison was written." in page.words
    assert "reproduction/table.md" in page.words


def test_a_sweep_alone_nominates_and_confirms_nothing(study: StudyConfig, told: Told, shown: Any) -> None:
    page = shown(told(study, [0.7, 0.9, None, 0.4, 0.8]))
    check(page)
    assert "trial 1: gru: nominated, not confirmed." in page.words
    assert "hybrid-search compare" in page.words
    assert "unknown: no comparison yet, run `hybrid-search compare`" in page.words
    assert "diverged in epoch 1: the loss was nan" in page.words
    assert "best" not in page.words.lower()
    assert len(page.figures) == 2
    heights = page.figures[0]["data"][0]["y"]
    assert heights == pytest.approx([70, 90, 90])


def test_a_comparison_is_told_in_full(study: StudyConfig, told: Told, judged: Judged, shown: Any) -> None:
    comparisons = judged(["crnn", "ecrnn"])
    page = shown(told(study, [0.9], comparisons))
    check(page)
    words = re.sub(r"\s+", " ", page.words)
    for comparison in comparisons:
        head, _, rest = comparison.sentence.partition(" (95 %")
        assert head in words
        assert rest in words
        assert comparison.test is not None
        assert comparison.why is not None
        assert comparison.limits is not None
        for text in (comparison.test, comparison.why, comparison.limits, f"{comparison.p:.3g}"):
            assert text in words
    for name in (
        "d_z and g_z",
        "P(A > B)",
        "smallest detectable difference",
        "diverged",
        "TOST p",
        "0123abcd",
        "2.12.0",
    ):
        assert name in words
    assert "P(below, inside, above ±0.5 pp)" in words
    # forest, matrix, planning, and the slopes of both; the sweep's one trial has no curve of k.
    assert len(page.figures) == 1 + 1 + 1 + 2 + 1


def test_what_won_everything_is_confirmed(study: StudyConfig, told: Told, judged: Judged, shown: Any) -> None:
    page = shown(told(study, [0.9], judged(["crnn"])))
    assert '<h1>Use crnn: confirmed.</h1><p class="lead">crnn beats cnn by ' in page.text
    assert "crnn : confirmed." in page.words
    assert "not confirmed" not in page.words.replace("nominated, not confirmed; one run each", "")


def test_a_finalist_that_lost_stays_a_nominee(study: StudyConfig, told: Told, judged: Judged, shown: Any) -> None:
    comparison = judged(["crnn"])[0]
    lost = dataclasses.replace(comparison, verdict=Verdict.WORSE)
    page = shown(told(study, [0.9], [lost]))
    assert "crnn : nominated, not confirmed." in page.words


def test_a_refused_comparison_says_why(study: StudyConfig, told: Told, judged: Judged, shown: Any) -> None:
    comparisons = judged(["crnn"], num_blocks=2)
    assert comparisons[0].verdict is Verdict.REFUSED
    page = shown(told(study, [0.9], comparisons))
    check(page)
    assert "two paired repeats" in page.words
    assert "confirmed" not in page.words.replace("not confirmed", "")


def test_no_name_breaks_the_page(study: StudyConfig, told: Told, judged: Judged, shown: Any, evil: str) -> None:
    comparisons = [dataclasses.replace(item, family=evil, dataset=evil) for item in judged([evil, f"{evil}2"])]
    folder = {"declared": {"family": {evil: []}, "alpha": 0.05, "rope": 0.005, "repeats": 6}}
    page = shown(told(study, [0.9, 0.8], comparisons, label=evil + " {}", document=folder))
    check(page)
    ours = [attributes for attributes in page.all("script") if attributes.get("type") != "application/json"]
    assert len(ours) == 2
    assert not page.all("b")[1:]  # the study's name on top
    assert page.words.count(evil) > 10
    # Plotly knows a few tags and entities of its own.
    drawn = str(page.figures)
    assert "&lt;script&gt;" in drawn
    assert "<script" not in drawn


def test_the_same_study_gives_the_same_page(study: StudyConfig, told: Told, judged: Judged) -> None:
    told(study, [0.7, 0.9], judged(["crnn", "ecrnn"]))
    assert make_page(gather(study)) == make_page(gather(study))


def test_passwords_stay_at_home(make_study: Callable[..., StudyConfig], told: Told) -> None:
    study = make_study("search.database=postgresql://me:secret@db/x", "tracking.uri=http://me:secret@server")
    page = make_page(gather(told(study, [0.9])))
    assert "secret" not in page
    assert "postgresql://me@db/x" in page


def test_the_three_scores_are_told_together(study: StudyConfig, told: Told, judged: Judged, shown: Any) -> None:
    page = shown(told(study, [0.9], judged(["crnn"])))
    words = re.sub(r"\s+", " ", page.words)
    for text in (
        "selection score 90.00 %",
        "corrected score - unknown",
        "confirmed score 75.00 % test accuracy of one",
    ):
        assert text in words


def test_a_race_is_told_with_what_it_led_to(
    study: StudyConfig, told: Told, judged: Judged, shown: Any, evil: str
) -> None:
    pair = {"a": evil, "b": "cnn", "outcome": "undecided", "num_blocks": 5, "needed": 20.0, "e_values": [1.5, 12.5]}
    won = {**pair, "a": "crnn", "outcome": "decided", "e_values": [1.5, None]}
    raced = [{"name": "crnn", "point": {"rnn": "none"}, "repeats": []}]
    sentences = [f"{evil} lost.", "Survivor: crnn:"]
    race = {"pairs": [pair, won], "sentences": sentences, "contenders": raced, "survivor": "crnn"}
    declared = {"alpha": 0.05, "rope": 0.005, "repeats": 20, "confirm": 5, "family": "baselines"}
    page = shown(told(study, [0.9], judged(["crnn"]), document={"declared": declared, "race": race}))
    check(page)
    assert "5 fresh ones, after a race of at most 20" in page.words
    words = re.sub(r"\s+", " ", page.words)
    for text in (
        f"{evil} lost.",
        "Survivor: crnn.",
        f"{evil} against cnn undecided 5 12.5 20",
        "decided 5 infinite 20",
    ):
        assert text in words


def test_a_comparison_that_cannot_be_read_is_named(study: StudyConfig, told: Told, judged: Judged) -> None:
    told(study, [0.9], judged(["crnn"]), document={"comparisons": [{"a": "crnn"}]})
    with pytest.raises(InputError, match=r"comparison\.json: damaged \(comparisons\.0\.b: missing"):
        gather(study)


def test_classes_need_the_images_of_the_study(study: StudyConfig, told: Told, judged: Judged, digits: Any) -> None:
    told(study, [0.9], judged(["crnn"]))
    material = gather(study)
    assert not material.classes
    assert material.why_no_classes == (
        f"the images on this machine ({digits.digest}) are not those of the study (d1g3st)"
    )
