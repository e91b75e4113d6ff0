"""What a paper prints: the table and the methods paragraph in LaTeX and Markdown, whatever names there are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.analysis.document import write_files
from search.analysis.options import Options
from search.analysis.run import analyze
from search.console.paper import latex_methods, latex_table, methods_paragraph
from search.console.tables import markdown_tables, pair_rows
from search.console.verdict_lines import verdict_lines
from search.significance import Comparison, Declared, Results, judge_results
from search.text.escaping import latex, markdown

EVIL = "a_b%c&d#e$f~g^h\\i|j{k}l\nm<n>*[o]`"


def judged(scores: dict[str, np.ndarray], declared: Declared, *, datasets: int = 1) -> tuple[Comparison, ...]:
    """All configurations against the first one."""
    names = list(scores)
    found = [
        Results(
            dataset=f"set-{place}" if datasets > 1 else "",
            configs=tuple(names),
            blocks=dict.fromkeys(names, tuple(map(str, range(len(scores[names[0]]))))),
            scores={name: values * (1 + 0.01 * place) for name, values in scores.items()},
        )
        for place in range(datasets)
    ]
    return judge_results(found, [(name, names[0]) for name in names[1:]], declared)


def scores(*names: str, num: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: 0.6 + 0.02 * place + rng.normal(0, 0.004, num) for place, name in enumerate(names)}


def check_latex(text: str) -> None:
    """Braces, environments, formulas and columns close, and nothing special is left bare."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    bare = re.sub(r"\\[A-Za-z]+|\\[&%$#_{}\\]", "", body)
    assert bare.count("$") % 2 == 0
    assert not set("%#_~^|`<>") & set(re.sub(r"\$[^$]*\$", "", bare))
    assert re.findall(r"\\begin\{(\w+)\}", body) == re.findall(r"\\end\{(\w+)\}", body)[::-1]
    if columns := re.search(r"\\begin\{tabular\}\{(\w+)\}", body):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns[1])}


def test_every_special_character_is_escaped() -> None:
    assert latex("a_b%c&d#e$f") == r"a\_b\%c\&d\#e\$f"
    assert latex("~^\\|") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textbar{}"
    assert latex("p < .001, -0.5 to -0.1, a-b, a--b\n(±2)") == (r"p $<$ .001, $-$0.5 to $-$0.1, a-b, a-{}-b ($\pm$2)")
    assert latex("[lstm] x*") == "{[}lstm{]} x{*}"
    assert markdown("my_net *v2* <img src=x> a|b\nc") == r"my\_net \*v2\* &lt;img src=x> a|b c"
    assert markdown("p < .001 & 2. 3") == "p < .001 & 2. 3"
    assert [markdown(text) for text in ("1. a", "# a", "- a", "+1.2")] == [r"1\. a", r"\# a", r"\- a", "+1.2"]


@given(st.text(max_size=20))
@example(EVIL)
@example("[x]")
def test_any_name_leaves_the_table_whole(name: str) -> None:
    rows = [("a", "b", "p"), (name, "c", "< .001"), ("d", name, ".5")]
    check_latex(latex_table(rows, []))
    lines = markdown_tables([rows], [name]).splitlines()
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines[:4])
    assert "<script" not in markdown(f"<script{name}")


def test_the_files_of_an_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.significance.figures.save_figures", lambda *_: [])
    names = ("cnn_a", "50%_wide", "x&y")
    rows = [f"{name},{block},{value}" for name, found in scores(*names).items() for block, value in enumerate(found)]
    (tmp_path / "r.csv").write_text("\n".join(["config,block,score", *rows, ""]))
    analysis = analyze(tmp_path / "r.csv", Options(control="cnn_a"))
    files = write_files(analysis.document, analysis.comparisons, tmp_path / "out")
    assert files == ["analysis.json", "table.md", "table.tex", "methods.tex"]
    table = (tmp_path / "out" / "table.tex").read_text()
    check_latex(table)
    assert r"50\%\_wide & cnn\_a & +" in table
    assert r"\caption{Difference of a minus b in percentage points, with its interval." in table
    check_latex((tmp_path / "out" / "methods.tex").read_text())
    page = (tmp_path / "out" / "table.md").read_text()
    assert r"| 50%\_wide | cnn\_a |" in page
    assert "\n\nMethods: The unit is the training run" in page


def test_the_methods_of_a_family() -> None:
    compared = judged(scores("cnn", "gru", "lstm"), Declared(ratio=3 / 7))
    text = methods_paragraph(compared)
    for words in (
        "The unit is the training run",
        "(n = 8 paired repeats)",
        "tested two-sided by the corrected resampled t test (Nadeau and Bengio, 2003); claims are about new data",
        "adjusted over the 2 comparisons of the declared family by Holm's procedure (1979), for a family-wise",
        "error rate of .05.",
        "adjusted by Holm's procedure over the same family, show the difference to lie within ±0.5 percentage points.",
        "Intervals cover 95 %",
    ):
        assert words in text, words
    assert re.search(r"Computed with hybrid-search \d+\.\d+\S* \(SciPy \d+\.\d+", text)
    check_latex(latex_methods(compared))


@pytest.mark.parametrize(
    ("declared", "datasets", "names", "words"),
    [
        (Declared(), 1, ("a", "b"), "A difference is claimed at p of at most .05."),
        (
            Declared(adjust="bh"),
            1,
            ("a", "b", "c"),
            "Benjamini and Hochberg (1995), for a false discovery rate of .05.",
        ),
        (
            Declared(alpha=0.02),
            7,
            ("a", "b"),
            "The unit is the data set, by the mean of its repeats (n = 7 data sets).",
        ),
        (Declared(), 7, ("a", "b"), "where two one-sided signed-rank tests"),
        (Declared(method="pooled-images", num_images=100), 1, ("a", "b"), "Differences were tested"),
    ],
)
def test_the_methods_follow_what_was_done(
    declared: Declared, datasets: int, names: tuple[str, ...], words: str
) -> None:
    found = judged(scores(*names), declared, datasets=datasets)
    assert words in methods_paragraph(found)


def test_nothing_tested_is_said() -> None:
    found = judged(scores("a", "b", num=2), Declared())
    assert methods_paragraph(found).startswith("No comparison could be tested. Computed")


def test_many_comparisons_begin_with_their_counts() -> None:
    few = judged(scores("a", "b", "c", "d"), Declared())
    assert verdict_lines(few) == [item.sentence for item in few]
    rng = np.random.default_rng(1)
    base = 0.6 + rng.normal(0, 0.004, 8)
    many = {"a": base, "b": base + 0.03 + rng.normal(0, 0.002, 8), "c": base + rng.normal(0, 0.0004, 8)}
    many |= {f"x{place}": base + rng.normal(0.004, 0.01, 8) for place in range(3)}
    many |= {"y": np.where(np.arange(8) < 2, np.nan, base + 0.05 + rng.normal(0, 0.001, 8)), "z": base + 0.01}
    lines = verdict_lines(judged(many, Declared()))
    assert lines[0] == "Of 7 comparisons: 1 better, 1 equivalent, 4 open, 1 refused."
    assert [line.split(" ")[:2] for line in lines[1:3]] == [["b", "beats"], ["c", "and"]]
    assert lines[3] == "Inconclusive, because 2 of 8 pairs are missing, more than 10 %: y against a."
    assert lines[4].startswith("Refused, because the difference is the same in every repeat")
    assert len(lines) == 5


def test_a_provisional_verdict_is_called_so_in_the_table() -> None:
    bits = np.random.default_rng(3).random((3, 400))
    correct = {"a": list((bits < 0.9).astype(np.uint8)), "b": list((bits < 0.6).astype(np.uint8))}
    found = Results(configs=("a", "b"), blocks=dict.fromkeys("ab", ("0", "1", "2")), correct=correct)
    (item,) = judge_results([found], [("a", "b")], Declared())
    heading, row = pair_rows([item])
    cells = dict(zip(heading, row, strict=True))
    assert cells["verdict"] == "better, provisional"
    assert cells["repeats won"] == "3 of 3"
