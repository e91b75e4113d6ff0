"""What the columns of a file may mean, by their headings: a proposal, never a choice between two plausible ones."""

from __future__ import annotations

import re
from dataclasses import dataclass

from search.analysis.asked import Asked
from search.analysis.direction import says_lower, words_of
from search.analysis.faults import Faults, closest, some

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
"""What trackers put in front of a name."""


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
"""Per meaning the words for it, the surest first: model comes before name."""
_SCORE_PARTS = _set(
    "score accuracy acc accuracies auc auroc auprc f1 top1 top5 precision recall map miou iou dice bleu r2 kappa mcc "
    "ndcg mrr sensitivity specificity"
)
_VALUES = re.compile(r"values?(_\d+)?|result|objective|performance|reward")
_NO_SCORES = _set("std rank sem stderr var count time fit duration")
_MEAN = _set("mean avg average")
_SPREAD = _set("std stddev sd sem stderr ci var")
_OVER_STEPS = frozenset({"best", "max", "min"})
"""The best of a learning curve flatters: never the first to be offered."""
_TRAIN = frozenset({"train", "training"})
OPTIONS = {name: f"--{name}-column" for name in (CONFIG, BLOCK, SCORE, DATASET, IMAGE, LABEL, PREDICTION)}


def simple(heading: str) -> str:
    """A heading without what a tracker put in front: `params.Model` and `config/model` are model."""
    return re.sub(r"[\s/.\-]+", "_", _PREFIXES.sub("", heading.strip())).strip("_").lower()


@dataclass(frozen=True, kw_only=True)
class Headings:
    """The headings of a file with what they may mean."""

    texts: tuple[str, ...]
    numeric: tuple[bool, ...]
    """Whether most cells of each column are numbers."""
    constant: tuple[bool, ...]
    """Whether a column holds the same in all rows of the file, and so tells nothing apart."""

    def named(self) -> bool:
        """Whether any heading is a word that is known."""
        return bool(self.scores() or any(self.ranked(meaning) for meaning in _WORDS))

    def ranked(self, meaning: str) -> list[int]:
        """Positions of the columns that are called so by the surest word that occurs."""
        for words in _WORDS[meaning]:
            if found := [at for at, text in enumerate(self.texts) if simple(text) in words]:
                return found
        return []

    def scores(self) -> list[int]:
        """Positions of the columns that may hold the score, of the surest kind that occurs."""
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
        """The column that holds the spread of a mean: `std_acc` beside `mean_acc`; empty if there is none."""
        if not _MEAN & {*simple(self.texts[at]).split("_")}:
            return ""
        return next((text.strip() for text in self.texts if _SPREAD & {*simple(text).split("_")}), "")

    def find(self, option: str, name: str, faults: Faults) -> tuple[int, ...]:
        """Positions of the columns that an option names; several are parted by commas.

        Args:
            option: For the fault.
            name: A heading as it stands in the file, or without what a tracker put in front.
            faults: Added to where there is no such column, or more than one.
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
            hint = f"did you mean {meant!r}?" if meant else f"there are: {self.listed()}"
            faults.add(f"{option}: no column is called {wanted!r}; {hint}")
        return ()

    def listed(self) -> str:
        """All headings, in words."""
        return some([shown(text) or "an empty heading" for text in self.texts], 12) if self.texts else "none"

    def take(self, meaning: str, asked: Asked, faults: Faults) -> tuple[int, ...]:
        """The column of a meaning: the one that is stated, else the only plausible one; none if there is none.

        Args:
            meaning: Such as config.
            asked: What is stated.
            faults: Added to where several are plausible.
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
            faults.add(f"expected the column {shown(once)} once, found it twice; remove one", "row 1")
        else:
            first = next((name for name in names if not _OVER_STEPS & {*words_of(name)}), names[0])
            faults.add(
                f"{some(map(shown, names), 8)} may each be the {meaning}; say which by {option} {shown(first)}"
                f"{' (several that belong together: by commas)' if meaning in (CONFIG, BLOCK) else ''}",
                "row 1",
            )
        return tuple(found[:1])


def shown(text: str) -> str:
    """A heading or a name in a line: what cannot be printed is escaped."""
    return text if text.isprintable() else repr(text)[1:-1]
