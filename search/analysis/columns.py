"""Which columns a file of results has, and what each is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
KNOWN = (CONFIG, BLOCK, SCORE, DATASET, IMAGE, CORRECT, FAILED)
ALIASES = {"diverged": FAILED}
OTHER_WORDS = {
    CONFIG: ("configuration", "model", "method", "algorithm", "architecture", "classifier", "system", "name", "arm"),
    BLOCK: ("seed", "run", "repeat", "fold", "split", "repetition", "trial", "replicate"),
    SCORE: ("accuracy", "acc", "value", "metric", "test_accuracy", "val_accuracy", "top1"),
    IMAGE: ("image_id", "example", "item", "sample", "index", "id"),
    CORRECT: ("is_correct", "hit", "right"),
}
"""What others call a column: a hint for the user, never a guess of ours."""


def choose_columns(found: Sequence[str], faults: Faults) -> Mapping[str, int]:
    """Find the columns that mean something; whatever is missing or stands twice is noted as a fault.

    Args:
        found: The headings, in order.
        faults: Added to, for row 1.

    Returns:
        Name -> position.
    """
    headings = [heading.strip() for heading in found]
    places: dict[str, int] = {}
    for position, heading in enumerate(headings):
        name = ALIASES.get(heading, heading)
        if name not in KNOWN:
            continue
        if name in places:
            both = heading if headings[places[name]] == heading else f"{headings[places[name]]} and {heading}"
            faults.add(f"expected the column {both} once, found it twice; remove one", "row 1")
        places.setdefault(name, position)
    missing = [name for name in (CONFIG, BLOCK) if name not in places]
    if SCORE not in places:
        missing += {
            (True, False): [CORRECT],
            (False, True): [IMAGE],
            (True, True): [],
            (False, False): [SCORE],
        }[IMAGE in places, CORRECT in places]
    for name in missing:
        faults.add(f"expected a column {name}, found {_found(headings)}; {_mend(name, headings)}", "row 1")
    return places


def unused(found: Iterable[str], places: Mapping[str, int]) -> tuple[str, ...]:
    """A note on the columns that were not read; none if every column was."""
    explained = {IMAGE, CORRECT, SCORE} <= set(places)
    used = {*wanted(places).values(), *([places[SCORE]] if explained else [])}
    names = [heading.strip() for position, heading in enumerate(found) if position not in used]
    notes = [f"columns that were not used: {some(names, 8)}"] if names else []
    if explained:
        notes.append("the column score was not used: correct says it image by image")
    return tuple(notes)


def wanted(places: Mapping[str, int]) -> dict[str, int]:
    """The columns to read: with image and correct, the score says nothing more; without both, neither is of use."""
    dropped = {SCORE} if {IMAGE, CORRECT} <= set(places) else {IMAGE, CORRECT}
    return {name: position for name, position in places.items() if name not in dropped}


def _found(headings: Sequence[str]) -> str:
    return some([heading or "an empty heading" for heading in headings], 12) if headings else "none"


def _mend(name: str, headings: Sequence[str]) -> str:
    if len(headings) == 1 and (mark := next((mark for mark in (";", "\t") if mark in headings[0]), None)):
        return f"the file parts its columns by {'semicolons' if mark == ';' else 'tabs'}: save it with commas"
    for heading in headings:
        if heading.lower() in (name, *OTHER_WORDS.get(name, ())):
            return f"if {heading} is meant, rename it to {name}"
    meant = closest(name, [heading for heading in headings if heading not in KNOWN])
    if meant:
        return f"if {meant} is meant, rename it to {name}"
    extra = ", or columns image and correct" if name == SCORE else ""
    return f"add it{extra}"
