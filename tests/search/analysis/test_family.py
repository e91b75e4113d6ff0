"""What is compared with what: declared in one of three ways, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.analysis.family import declare_families
from search.analysis.faults import AnalysisError

NAMES = ("cnn", "crnn", "ecrnn")


def test_the_three_ways_and_the_obvious_one(write: Any) -> None:
    assert declare_families(NAMES[:2]) == {"": (("cnn", "crnn"),)}
    assert declare_families(NAMES, control="crnn") == {"": (("cnn", "crnn"), ("ecrnn", "crnn"))}
    assert declare_families(NAMES, all_pairs=True) == {"": (("cnn", "crnn"), ("cnn", "ecrnn"), ("crnn", "ecrnn"))}
    listed = write("- [ecrnn, cnn]", "- [crnn, cnn]", name="f.yaml")
    assert declare_families(NAMES, file=listed) == {"": (("ecrnn", "cnn"), ("crnn", "cnn"))}
    named = write("order: [[ecrnn, crnn]]", "2: [[crnn, cnn], [ecrnn, cnn]]", name="g.yaml")
    assert declare_families(NAMES, file=named) == {
        "order": (("ecrnn", "crnn"),),
        "2": (("crnn", "cnn"), ("ecrnn", "cnn")),
    }


def test_numbers_are_names(write: Any) -> None:
    assert declare_families(("16", "32", "64"), file=write("- [16, 64]", name="f.yaml")) == {"": (("16", "64"),)}


def test_a_family_is_never_guessed() -> None:
    with pytest.raises(
        AnalysisError,
        match=r"3 configurations: expected a declared family of comparisons.*"
        r"give --control NAME, --all-pairs or --family FILE \(configurations: cnn, crnn and ecrnn\)",
    ):
        declare_families(NAMES)
    with pytest.raises(AnalysisError, match="--control and --all-pairs: expected one of them"):
        declare_families(NAMES, control="cnn", all_pairs=True)
    with pytest.raises(AnalysisError, match=r"--control: no configuration is called 'CNN'; did you mean 'cnn'\?"):
        declare_families(NAMES, control="CNN")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("",), ": expected a list of pairs, found nothing"),
        (("{}",), ": expected families, found none"),
        (("cnn",), ": expected a list of pairs, found 'cnn'"),
        (("one: []",), ", one: expected a list of pairs, found nothing"),
        (("- [cnn]",), ", pair 1: expected two configurations, found ['cnn']"),
        (("- [cnn, yes]",), "pair 1: expected two configurations, found ['cnn', True]; write [first, second], with"),
        (("- [cnn, cnn]",), ", pair 1: expected two configurations, found 'cnn' twice"),
        (("- [cnn, crn]",), ", pair 1: no configuration is called 'crn'; did you mean 'crnn'?"),
        (("- [cnn, crnn]", "- [crnn, cnn]"), ", pair 2: expected every pair once, found it in pair 1 as well"),
        (("- [cnn, crnn",), "line 2: not YAML"),
        (("a: [[cnn, crnn]]", "a: [[cnn, ecrnn]]"), "line 2: key 'a' occurs twice"),
    ],
)
def test_a_wrong_file_is_named_with_the_pair(write: Any, lines: tuple[str, ...], words: str) -> None:
    path = write(*lines, name="f.yaml")
    with pytest.raises(AnalysisError) as caught:
        declare_families(NAMES, file=path)
    assert words in str(caught.value)
    assert all(line.startswith(str(path)) for line in caught.value.faults)


def test_all_faults_of_a_file_at_once(write: Any, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        declare_families(NAMES, file=write("one: [[cnn, x], [y, cnn]]", "two: [[cnn, cnn]]", name="f.yaml"))
    assert len(caught.value.faults) == 3
    for wrong, words in (
        (tmp_path / "no.yaml", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a dir"),
    ):
        with pytest.raises(AnalysisError, match=words):
            declare_families(NAMES, file=wrong)
