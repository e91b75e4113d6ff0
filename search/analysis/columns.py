"""Possible meanings of the columns of a file, by their headings; it never chooses between two plausible columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from search.analysis.direction import says_lower, words_of
from search.analysis.faults import Faults, closest, some
from search.analysis.read_options import ReadOptions

CONFIG, BLOCK, SCORE, DATASET, IMAGE, CORRECT, FAILED = (
    "config",
    "block",
    "score",
    "dataset",
    "image",
    "correct",
    "failed",
)
LABEL, PREDICTION, STATE, STEP, METRIC = "label", "prediction", "state", "step", "metric"

_PREFIXES = re.compile(
    r"^(params?[._/]|config[./]|metrics?[./]|tags\.|user_attrs_|system_attrs_|summary[./]|hparams?[./])(?=.)", re.I
)
"""Prefixes that experiment trackers add to a name."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS: dict[str, tuple[frozenset[str], ...]] = {
    CONFIG: (
        _set("config"),
        _set(
            "configuration config_name model model_name method algorithm algo architecture arch classifier estimator "
            "system arm approach learner preset network net backbone"
        ),
        _set("name run_name label"),
    ),
    BLOCK: (
        _set("block"),
        _set("seed random_seed random_state rng_seed fold cv_fold split repeat repetition replicate rep"),
        _set("run trial"),
    ),
    DATASET: (_set("dataset"), _set("data_set dataset_name")),
    IMAGE: (
        _set("image"),
        _set("image_id img image_name filename file_name file example example_id sample sample_id item"),
        _set("index idx id"),
    ),
    CORRECT: (_set("correct"), _set("is_correct hit right is_right")),
    FAILED: (_set("failed diverged"),),
    LABEL: (_set("y_true true truth target ground_truth gt actual true_label true_class label"),),
    PREDICTION: (_set("y_pred pred prediction predicted predicted_label predicted_class pred_label"),),
    STATE: (_set("state status"),),
    STEP: (_set("step global_step epoch iteration training_iteration"),),
    METRIC: (_set("tag metric metric_name measure"),),
}
"""Words for each meaning, the most specific first: model precedes name."""
_SCORE_PARTS = _set(
    "score accuracy acc accuracies auc auroc auprc f1 top1 top5 precision recall map miou iou dice bleu r2 kappa mcc "
    "ndcg mrr sensitivity specificity"
)
_VALUES = re.compile(r"values?(_\d+)?|result|objective|performance|reward")
_NO_SCORES = _set("std rank sem stderr var count time fit duration")
_MEAN = _set("mean avg average")
_SPREAD = _set("std stddev sd sem stderr ci var")
_OVER_STEPS = frozenset({"best", "max", "min"})
"""The best value of a learning curve is biased upward, so these columns are proposed last."""
_TRAIN = frozenset({"train", "training"})
OPTIONS = {name: f"--{name}-column" for name in (CONFIG, BLOCK, SCORE, DATASET, IMAGE, LABEL, PREDICTION)}


def simple(heading: str) -> str:
    """Return a heading without the prefix of a tracker: `params.Model` and `config/model` give model."""
    return re.sub(r"[\s/.\-]+", "_", _PREFIXES.sub("", heading.strip())).strip("_").lower()


@dataclass(frozen=True, kw_only=True)
class Headings:
    """The headings of a file with their possible meanings."""

    texts: tuple[str, ...]
    numeric: tuple[bool, ...]
    """Whether most cells of each column are numbers."""
    constant: tuple[bool, ...]
    """Whether each column holds a single value in all rows."""

    def named(self) -> bool:
        """Return whether any heading is a known word."""
        return bool(self.scores() or any(self.ranked(meaning) for meaning in _WORDS))

    def ranked(self, meaning: str) -> list[int]:
        """Return the positions of the columns with the most specific word for a meaning."""
        for words in _WORDS[meaning]:
            if found := [at for at, text in enumerate(self.texts) if simple(text) in words]:
                return found
        return []

    def scores(self) -> list[int]:
        """Return the positions of the columns that may hold the score, of the most specific kind that occurs."""
        tiers: list[list[int]] = [[], [], [], [], []]
        for at, text in enumerate(self.texts):
            name = simple(text)
            parts = {*name.split("_"), *words_of(text)}
            if name == SCORE:
                tiers[0].append(at)
            elif not self.numeric[at] or parts & _NO_SCORES:
                continue
            elif says_lower(text):
                tiers[3 if not parts & _TRAIN else 4].append(at)
            elif parts & _SCORE_PARTS:
                tiers[1 if not parts & _TRAIN else 4].append(at)
            elif _VALUES.fullmatch(name):
                tiers[2].append(at)
        return next((tier for tier in tiers if tier), [])

    def spread_of(self, at: int) -> str:
        """Return the column that holds the spread of a mean: `std_acc` for `mean_acc`; empty if there is none."""
        if not _MEAN & {*simple(self.texts[at]).split("_")}:
            return ""
        return next((text.strip() for text in self.texts if _SPREAD & {*simple(text).split("_")}), "")

    def find(self, option: str, name: str, faults: Faults) -> tuple[int, ...]:
        """Return the positions of the columns that an option names, separated by commas.

        Args:
            option: The option, for the fault.
            name: A heading as written in the file, or without a tracker's prefix.
            faults: Receives a fault if there is no such column, or more than one.
        """
        stripped = [text.strip() for text in self.texts]
        if name.strip() not in stripped and "," in name:
            return tuple(at for part in name.split(",") for at in self.find(option, part, faults))
        wanted = name.strip()
        found = [at for at, text in enumerate(stripped) if text == wanted]
        found = found or [at for at, text in enumerate(stripped) if simple(text) == simple(wanted)]
        if len(found) == 1:
            return (found[0],)
        if found:
            faults.add(f"{option}: {len(found)} columns are called {wanted!r}; rename one", "row 1")
        else:
            meant = closest(wanted, stripped)
            hint = f"did you mean {meant!r}?" if meant else f"known: {self.listed()}"
            faults.add(f"{option}: no column is called {wanted!r}; {hint}")
        return ()

    def listed(self) -> str:
        """Return all headings as text."""
        return some([shown(text) or "an empty heading" for text in self.texts], 12) if self.texts else "none"

    def take(self, meaning: str, asked: ReadOptions, faults: Faults) -> tuple[int, ...]:
        """Return the column of a meaning: the stated one, or else the only plausible one; empty if there is none.

        Args:
            meaning: A meaning such as config.
            asked: The stated options.
            faults: Receives a fault if several columns are plausible.
        """
        option = OPTIONS.get(meaning, f"--{meaning}-column")
        stated = getattr(asked, meaning, None) if meaning in OPTIONS else None
        if stated is not None:
            return self.find(option, stated, faults)
        found = self.scores() if meaning == SCORE else self.ranked(meaning)
        if meaning in (CONFIG, BLOCK) and len(found) > 1:
            found = [at for at in found if not self.constant[at]] or found
        if len(found) < 2:
            return tuple(found)
        names = [self.texts[at].strip() for at in found]
        if len({*names}) < len(names) or meaning == FAILED:
            once = names[0] if names[0] == names[1] else " and ".join(map(shown, names[:2]))
            faults.add(f"expected the column {shown(once)} once, found two; remove one", "row 1")
        else:
            first = next((name for name in names if not _OVER_STEPS & {*words_of(name)}), names[0])
            faults.add(
                f"{some(map(shown, names), 8)} may each be the {meaning}; choose with {option} "
                f"{shown(first)}{' (separate several columns by commas)' if meaning in (CONFIG, BLOCK) else ''}",
                "row 1",
            )
        return tuple(found[:1])


def shown(text: str) -> str:
    """Return a heading or name for printing, with unprintable characters escaped."""
    return text if text.isprintable() else repr(text)[1:-1]
