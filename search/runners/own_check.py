"""Check the own model of a study before any trial, by training one batch of a few points. Runs the user's code."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator

from search.errors import StudyError
from search.own_models.errors import OwnCodeError
from search.own_models.model import OwnModel
from search.seeds import make_block
from search.study.bind import DataFacts, bind, complete_point, why_not
from search.study.config import StudyConfig
from search.study.draws import random_points
from search.study.goals import COUNTS
from search.study.own_model import is_built_in
from search.study.section import top_of
from search.study.settings import RECIPE_SETTINGS
from search.training.spec import TrialSpec

NUM_POINTS = 3
"""Number of random points that are checked besides those of the study file."""
NUM_DRAWS = 200
BATCH = 4
"""Largest number of images of the batch."""


def check_own_model(study: StudyConfig, facts: DataFacts) -> list[str]:
    """Check that the own model of a study builds, trains, and can be stored; does nothing for built-in models.

    Args:
        study: The study, whose points are valid.
        facts: Facts about its data.

    Returns:
        Warnings: parameters that the factory never reads.

    Raises:
        StudyError: One line with the place in the user's file.
    """
    if not study.is_own:
        return []
    from search.own_models.check import check_own

    read: set[str] = set()
    unread: set[str] = set()
    for spec in _specs(study, facts):
        model = spec.model
        assert isinstance(model, OwnModel)
        try:
            ignored = check_own(
                model,
                batch=max(2, min(BATCH, spec.train.batch)),
                label_smoothing=spec.train.label_smoothing,
                rnn_l2=spec.train.rnn_l2,
                class_weights=spec.train.class_weights,
            )
        except OwnCodeError as error:
            values = ", ".join(f"{name} {value}" for name, value in model.point)
            raise StudyError(f"model.factory: {error.line}{f' (with {values})' if values else ''}") from None
        _check_counts(study, model)
        unread |= ignored
        read |= {name for name, _ in model.point} - ignored
    return [_unread(study, name) for name in sorted(unread - read)]


def _specs(study: StudyConfig, facts: DataFacts) -> Iterator[TrialSpec]:
    block = make_block(study.seed, "sweep", 0)
    points = [like for like in (*study.search.enqueue, *study.compare.baselines) if not top_of(like)]
    given = [complete_point(study, like) for like in points]
    # Without limits: a count that is not known because the model raises would leave no point that shows why.
    free = study.model_copy(update={"search": study.search.model_copy(update={"limits": {}})})
    drawn = itertools.islice(random_points(free, study.build_space()), NUM_DRAWS)
    fitting = (dict(point) for point in drawn if why_not(free, point, facts) is None)
    seen: set[OwnModel] = set()
    own = [point for point in given if not is_built_in(study, point)]
    for point in itertools.chain(own, itertools.islice(fitting, NUM_POINTS)):
        spec = bind(study, point, facts, (block,), label="model.factory")
        assert isinstance(spec.model, OwnModel)
        if spec.model not in seen:
            seen.add(spec.model)
            yield spec


def _check_counts(study: StudyConfig, model: OwnModel) -> None:
    from search.own_models.counts import count_own, why_unknown

    known = count_own(model)
    for section, names in (("objectives", study.search.objectives), ("limits", study.search.limits)):
        for name in names:
            if name in COUNTS and name not in known:
                raise StudyError(
                    f"search.{section}.{name}: not known for this model, because torch's meta device cannot count it "
                    f"({why_unknown(model)}); remove it"
                )


def _unread(study: StudyConfig, name: str) -> str:
    section = "model" if name in study.model else "space"
    near = difflib.get_close_matches(name, RECIPE_SETTINGS, n=1)
    hint = f"; did you mean the training setting {near[0]}?" if near else ""
    return f"{section}.{name}: {study.model['factory']} never reads it, so it changes nothing{hint}"
