"""What the papers print is data; here it is checked against itself and against what is shipped."""

from __future__ import annotations

import pytest

from search.errors import InputError
from search.reproduce.paper import Paper, load_paper, paper_names
from search.reproduce.setting import load_shipped

PAPERS = [load_paper(name) for name in paper_names()]
every_paper = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)


def test_four_papers() -> None:
    assert paper_names() == ("ecrnn", "johnson", "yilmaz", "yin")


@every_paper
def test_every_cell_is_a_point(paper: Paper) -> None:
    for cell in paper.cells.values():
        assert "family" in cell.point


@every_paper
def test_every_name_is_known(paper: Paper) -> None:
    assert paper.choose(paper.default)
    assert set(paper.choose(list(paper.groups))) <= set(paper.cells)
    named = {name for family in paper.families for pair in family.pairs for name in (pair.a, pair.b)}
    confusion = paper.confusion
    shown = {*paper.curves, *paper.saliency, *(confusion.cells if confusion else ())}
    assert named | shown <= set(paper.cells)
    if paper.heat_map:
        grid = paper.heat_map
        assert {
            grid.cell.format(row=row, column=column) for row in grid.rows.values for column in grid.columns.values
        } == set(paper.choose(["sensitivity"]))


@every_paper
def test_printed_numbers_are_of_a_known_data_set_and_score(paper: Paper) -> None:
    for cell in paper.cells.values():
        for data, scores in cell.printed.items():
            assert set(scores) == set(paper.data[data].scores)
            assert all(1 < value < 100 for value in scores.values())


@every_paper
def test_every_study_file_is_shipped(paper: Paper) -> None:
    for setting in paper.data.values():
        study = load_shipped(setting, [])
        assert study.name == setting.study


def test_printed_differences_follow_from_printed_accuracies() -> None:
    paper = load_paper("ecrnn")
    for family in paper.families:
        for pair in family.pairs:
            if pair.difference is not None:
                a, b = (paper.cells[name].printed["cifar10"]["validation"] for name in (pair.a, pair.b))
                # Five are .01 off: the paper rounded twice.
                assert pair.difference == pytest.approx(a - b, abs=0.0101)


def test_the_control_differs_from_the_ecrnn_only_by_its_rnn() -> None:
    paper = load_paper("ecrnn")
    control, whole = paper.cells["control"].point, paper.cells["ecrnn-bilstm-16"].point
    assert {name for name in control if control[name] != whole.get(name)} == {"rnn", "pool_head"}


def test_the_printed_confusion_matrix_adds_up() -> None:
    confusion = load_paper("yilmaz").confusion
    assert confusion is not None
    printed = confusion.printed["caltech101"]
    assert [sum(row) for row in printed.counts] == [87, 87, 40, 160, 160, 26, 24, 21, 23, 48]
    assert sum(printed.counts[place][place] for place in range(10)) == 613
    assert len(printed.classes) == 10


def test_cells_come_once_and_in_the_papers_order() -> None:
    paper = load_paper("ecrnn")
    assert paper.choose(["control", "crnn-lstm-16", "cnn", "control"]) == ("cnn", "crnn-lstm-16", "control")
    assert len(paper.choose(["tables"])) == 17
    assert paper.choose(["all"]) == tuple(paper.cells)


def test_an_unknown_paper_names_the_near_ones() -> None:
    with pytest.raises(InputError, match=r"expected a paper, found 'yilmas'; did you mean yilmaz\?"):
        load_paper("yilmas")


def test_unknown_cells_are_told_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_paper("ecrnn").choose(["cnn", "contrl", "crnn-blstm-16"])
    assert len(caught.value.faults) == 2
    assert "did you mean control?" in caught.value.faults[0]
    assert "crnn-bilstm-16" in caught.value.faults[1]


def test_an_unknown_data_set_lists_the_papers() -> None:
    with pytest.raises(InputError, match=r"--data: expected a data set of yilmaz, found 'mnist'; known: cifar10, calt"):
        load_paper("yilmaz").setting("mnist")
