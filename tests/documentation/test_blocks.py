"""Blocks of a page, their comments, and how an output is compared with the one that the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from blocks import read_page
from run_examples import shape

PAGE = """# Title

Some text. <!-- prints: one.*two -->

    hybrid-search plan study.yaml \\
      --json   # a comment

- an item

      not a block

<!-- small: train.epochs=1 search.trials=2 -->
```yaml title="study.yaml"
name: a
```

<!-- not run: needs a cluster -->
```sh
kubectl apply
```

<!-- output -->
```text
done
```
"""


def test_blocks_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    page = read_page(path)
    command, study, cluster, output = page.blocks
    assert command.commands == ["hybrid-search plan study.yaml --json"]
    assert command.comments == {"prints": "one.*two"}
    assert (study.title, study.small) == ("study.yaml", {"train.epochs": "1", "search.trials": "2"})
    assert (output.language, output.comments) == ("text", {"output": ""})
    assert page.not_run() == [(cluster, "needs a cluster")]


def test_a_page_that_is_not_run_lists_all_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- page not run: needs Docker -->\n" + PAGE)
    assert [reason for _, reason in read_page(path).not_run()] == ["needs Docker", "needs Docker"]


def test_unknown_comments_and_languages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- skip: me -->\n")
    with pytest.raises(ValueError, match="line 1: unknown comment 'skip'"):
        read_page(path)
    path.write_text("```bash\nls\n```\n")
    with pytest.raises(ValueError, match="line 1: unknown language 'bash'"):
        read_page(path)


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("mean 0.93 of 5 runs", "mean   0.9\nof 12 runs", True),
        ("p < .001; n = 5", "p < .02; n = 7", True),
        ("trial ... wins", "trial 3 (ecrnn) wins", True),
        ("mean 0.93 of 5 runs", "median 0.93 of 5 runs", False),
        ("trial ... wins", "trial 3 loses", False),
    ],
)
def test_outputs_are_compared_up_to_numbers(shown: str, printed: str, fits: bool) -> None:
    assert bool(re.search(shape(shown), printed)) is fits
