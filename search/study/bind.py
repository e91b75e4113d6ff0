"""Create the specification of a trial from a point and the study: point -> ModelConfig + TrainConfig -> TrialSpec."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_models.config.model import ConfigError, ModelConfig
from search.data.splits import second_size
from search.errors import StudyError
from search.journal.reading import History
from search.own_models.model import AnyModel, OwnModel
from search.seeds import Block, make_block
from search.study.config import StudyConfig
from search.study.goals import over_limit
from search.study.own_model import BUILT_IN, is_built_in
from search.study.section import PointLike, top_of
from search.study.settings import BINDS_TO, MODEL_DEFAULTS
from search.training.config import TRAIN_FIELDS, TrainConfig, resolve_precision
from search.training.spec import TrialSpec
from spaces.conditions import holds
from spaces.domains import Fixed
from spaces.presets import load_preset
from spaces.space import SpaceError

if TYPE_CHECKING:
    from search.data.store import ImageData


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The properties of a data set that a trial specification needs."""

    key: str
    """Digest of the data set."""
    classes: tuple[str, ...]
    height: int
    width: int
    num_train: int
    """Number of training images, including those for validation."""
    num_test: int
    num_val: int = 0
    """Size of the data set's own validation set, the same for every block; 0: each block draws one."""


def facts_in(history: History) -> DataFacts | None:
    """Return the facts about the data that the newest start recorded; None if it did not record the image size."""
    sessions = [event for event in history.marks if event["event"] == "session"]
    data = sessions[-1].get("data") if sessions else None
    if not data or not {"height", "width", "num_train", "num_test"} <= data.keys():
        return None
    return DataFacts(
        key=data["digest"],
        classes=tuple(sessions[-1].get("classes") or ()),
        height=data["height"],
        width=data["width"],
        num_train=data["num_train"],
        num_val=data.get("num_val", 0),
        num_test=data["num_test"],
    )


def bind(
    study: StudyConfig,
    point: Mapping[str, Any],
    facts: DataFacts,
    blocks: tuple[Block, ...],
    *,
    score_test: bool = False,
    number: int = 0,
    label: str = "",
) -> TrialSpec:
    """Create the specification of one trial.

    Values of the point take precedence over the study's `model` and `train` sections.

    Args:
        study: The study.
        point: Parameter name -> value.
        facts: Properties of the data set.
        blocks: Seeds; one model is trained per block.
        score_test: Whether to evaluate the test set; for repeats only.
        number: Number of the trial in the sweep.
        label: Displayed name.

    Raises:
        StudyError: A setting is unknown, or the combination of values is not a valid model.
    """
    try:
        model, train = _configure(study, point, facts)
    except _Unfit as error:
        raise StudyError(*(f"point {label or dict(point)}: {fault}" for fault in error.faults)) from None
    return TrialSpec(
        model=model,
        train=train,
        # absolute, as a worker has another working directory
        data=dataclasses.replace(study.data, root=_absolute(study.data.root)),
        split=study.split,
        blocks=blocks,
        data_key=facts.key,
        score_test=score_test,
        number=number,
        label=label,
    )


def sweep_blocks(study: StudyConfig) -> tuple[Block, ...]:
    """Return the blocks that every point of the sweep is trained on."""
    return tuple(make_block(study.seed, "sweep", index) for index in range(study.search.blocks))


def _absolute(root: str | None) -> str | None:
    return None if root is None else str(Path(root).expanduser().absolute())


class _Unfit(ValueError):
    """A point yields no valid model or training configuration; `faults` lists the reasons."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _configure(study: StudyConfig, point: Mapping[str, Any], facts: DataFacts) -> tuple[AnyModel, TrainConfig]:
    recipe: dict[str, Any] = {}
    # A built-in model among those of a user's own has none of their constants.
    model = {} if study.is_own and is_built_in(study, point) else dict(study.model)
    for name, value in point.items():
        setting = BINDS_TO.get(name, name)
        if setting in recipe:
            raise _Unfit(f"{name}: expected one value for {setting}, found two")
        (recipe if setting in TRAIN_FIELDS else model)[setting] = value
    sizes = {
        "input_channels": 3,
        "input_height": facts.height,
        "input_width": facts.width,
        "num_classes": len(facts.classes),
    }
    try:
        config: AnyModel
        if is_built_in(study, point):
            config = _model_of(json.dumps(model | sizes, sort_keys=True))
        else:
            factory = str(model.pop("factory"))
            pairs = tuple(sorted(model.items()))
            config = OwnModel(factory=factory, code=tuple(sorted(study.code.items())), point=pairs, **sizes)
        train = dataclasses.replace(study.train, **recipe)
    except ConfigError as error:
        raise _Unfit(*error.faults) from None
    except ValueError as error:
        raise _Unfit(str(error)) from None
    num_images = _size_of_training_part(study, facts)
    if train.batch > num_images:
        raise _Unfit(f"batch: expected at most the {num_images:,} images of the training part, found {train.batch}")
    return config, resolve_precision(train, gpus=study.resources.gpus)


@lru_cache(maxsize=1024)  # checked, proposed and trained, on one block after the other, it is the same model
def _model_of(settings: str) -> ModelConfig:
    return ModelConfig.from_dict(json.loads(settings))


def _size_of_training_part(study: StudyConfig, facts: DataFacts) -> int:
    return facts.num_train - second_size(facts.num_train, study.split, facts.num_val)


def why_not(study: StudyConfig, point: Mapping[str, Any], facts: DataFacts) -> str | None:
    """Return why a point is not searched, or None; found values are left out, so that reasons can be counted.

    It is not a valid model, or its counts exceed the study's limits.
    """
    try:
        model, _ = _configure(study, point, facts)
    except _Unfit as error:
        return error.faults[0].partition(", found ")[0]
    return over_limit(model, study.search.limits)


def describe_rejected(rejected: Mapping[str, int]) -> str:
    """Describe how many draws were rejected and why, the most frequent reason first."""
    if not rejected:
        return "no draw rejected"
    reasons = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    total = sum(rejected.values())
    return f"{total} draw{'s' * (total != 1)} rejected ({'; '.join(f'{count} x {why}' for why, count in reasons)})"


def complete_point(study: StudyConfig, like: PointLike) -> dict[str, Any]:
    """Express a preset or partial point in the parameters of the study's space, so that equal models have equal points.

    Missing parameters are taken from `fix`, else from `train` and `model`. Settings outside the space are omitted if
    they have the study's value anyway.

    Args:
        study: The study.
        like: Name of a preset, or a point.

    Returns:
        The point, which may lie outside the space.
    """
    values = load_preset(like) if isinstance(like, str) else dict(like)
    if study.is_own and (isinstance(like, str) or BUILT_IN in values):
        return {BUILT_IN: MODEL_DEFAULTS[BUILT_IN], **values}
    space = study.build_space()
    settled = {**({} if study.is_own else MODEL_DEFAULTS), **study.model, **dataclasses.asdict(study.train)}
    known = {parameter.name for parameter in space.parameters}
    point = {name: value for name, value in values.items() if name in known or not _holds(settled, name, value)}
    for parameter in space.parameters:
        name, domain = parameter.name, parameter.domain
        setting = BINDS_TO.get(name, name)
        if name not in point and setting not in point and setting in settled and holds(parameter.when, point):
            point[name] = domain.value if isinstance(domain, Fixed) else settled[setting]
    try:
        return dict(space.point(point))  # adds the values fixed by the space
    except SpaceError:
        return point  # a baseline may lie outside the space


def _holds(settled: Mapping[str, Any], name: str, value: object) -> bool:
    held = settled.get(name)
    return held == value and isinstance(held, bool) is isinstance(value, bool)


def check_sweep(study: StudyConfig, facts: DataFacts) -> None:
    """Check the requirement of a sweep: a validation part to select by.

    Raises:
        StudyError: There is no validation part.
    """
    if study.split.method == "none" and not facts.num_val:
        raise StudyError(
            "split.method: expected random or stratified for a sweep, found none; a sweep ranks trials by validation "
            "accuracy: set split.method"
        )


def check_keep(study: StudyConfig, facts: DataFacts) -> None:
    """Check that there is a validation part if the best epoch counts.

    Raises:
        StudyError: There is none.
    """
    if study.train.keep == "best" and study.split.method == "none" and not facts.num_val:
        raise StudyError(
            "train.keep: best expects a validation part, found split.method none; the best epoch is that of the "
            "highest validation accuracy: set split.method, or train.keep to last"
        )


def check_race(study: StudyConfig) -> None:
    """Check that there is a validation part, as test images must not be used for selection, and no interim analyses.

    Raises:
        StudyError: There is no validation part, or interim analyses are declared.
    """
    if study.compare.interim is not None:
        raise StudyError(
            "compare.interim: expected none with --until-decided, which analyses after every block by itself, found "
            f"{study.compare.interim}; leave out one of them"
        )
    if study.split.method == "none":
        raise StudyError(
            "split.method: expected random or stratified with --until-decided, found none; a race drops losers by "
            "validation accuracy: set split.method, or compare without --until-decided"
        )


def check_points(study: StudyConfig, facts: DataFacts) -> None:
    """Check that enqueued points lie in the space and that they and the baselines are valid models; writes nothing.

    Args:
        study: The study.
        facts: Properties of the data set.

    Raises:
        StudyError: Lists every fault of every point.
    """
    num_images = _size_of_training_part(study, facts)
    searched = any(parameter.name == "batch" for parameter in study.build_space().parameters)
    if study.train.batch > num_images and not searched:
        # Reported once instead of for every point.
        raise StudyError(
            f"train.batch: expected at most the {num_images:,} images of the training part, found {study.train.batch}; "
            "lower it"
        )
    faults = list(_point_faults(study, facts))
    if faults:
        raise StudyError(*faults)


def check_baselines(study: StudyConfig) -> None:
    """Check that all baselines are different points.

    Raises:
        StudyError: Lists every baseline that repeats another one.
    """
    points = [complete_point(study, like) for like in study.compare.baselines]
    faults = [
        f"compare.baselines.{position}: the same point as compare.baselines.{points.index(point)}; remove one of them"
        for position, point in enumerate(points)
        if point in points[:position]
    ]
    if faults:
        raise StudyError(*faults)


def check_splits(study: StudyConfig, data: ImageData, *, num_confirm: int = 0) -> None:
    """Draw every split of the study once, so that a class missing from a part is reported before the first trial.

    Args:
        study: The study.
        data: The opened data set.
        num_confirm: Number of blocks on which a race's survivor is confirmed.

    Raises:
        StudyError: A split cannot be drawn.
    """
    blocks = list(sweep_blocks(study))
    blocks += (make_block(study.seed, "compare", index) for index in range(study.compare.repeats))
    blocks += (make_block(study.seed, "confirm", index) for index in range(num_confirm))
    for block in blocks:
        data.divide(study.split, block.split_seed)


def _point_faults(study: StudyConfig, facts: DataFacts) -> Iterator[str]:
    space = study.build_space()
    block = make_block(study.seed, "sweep", 0)
    for section, likes in (("search.enqueue", study.search.enqueue), ("compare.baselines", study.compare.baselines)):
        for position, like in enumerate(likes):
            if section == "search.enqueue" and top_of(like):
                continue  # checked where the earlier study is read
            where = f"{section}.{position}{f' ({like})' if isinstance(like, str) else ''}"
            point = complete_point(study, like)
            try:
                if section == "search.enqueue":
                    point = dict(space.point(point))
                spec = bind(study, point, facts, (block,), label=where)
                if section == "search.enqueue" and (why := over_limit(spec.model, study.search.limits)):
                    yield f"{where}: {why}; raise the limit, or remove the point"
            except SpaceError as error:
                yield from (f"{where}: {fault}" for fault in error.faults)
            except StudyError as error:
                yield from (fault.removeprefix("point ") for fault in error.faults)


def load_facts(study: StudyConfig, on_progress: Callable[[int, int], None] | None = None) -> DataFacts:
    """Return the properties of a data set, decoding it first if it is not in the node's cache.

    Args:
        study: The study.
        on_progress: Receives the number of decoded images and the total.
    """
    from search.data.store import open_data

    return facts_of(open_data(study.data, on_progress=on_progress))


def facts_of(data: ImageData) -> DataFacts:
    """Return the properties of an opened data set."""
    height, width = data.image_size
    return DataFacts(
        key=data.digest,
        classes=data.classes,
        height=height,
        width=width,
        num_train=data.num_train,
        num_test=data.num_test,
        num_val=data.num_val,
    )
