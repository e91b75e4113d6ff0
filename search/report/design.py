"""Report section: the design of the study, as declared before any score: data, budget, comparisons, search space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

from search.compare.results import declaration_of
from search.report.markup import Html, definitions, section, table, tag
from search.report.material import Material
from search.report.picture import folded_away
from search.significance.figures.forest import group_name
from search.study.config import StudyConfig
from search.text.counted import counted
from spaces.conditions import Test
from spaces.domains import Fixed
from spaces.parse import Parameter

ESTIMANDS = {
    "new-data": "new data of this kind",
    "this-data": "this data set: further repeats on the same images",
}


def make(material: Material) -> Html:
    """Return the section: data, budget, comparisons and their claim, and the search space."""
    study = material.study
    facts = [*_data(material), *_budget(material), *_claim(material)]
    return section("asked", "What was asked", definitions(facts), *_families(material), _space(study))


def _data(material: Material) -> Iterator[tuple[str, str]]:
    study, data = material.study, material.last.get("data", {})
    classes = material.last.get("classes", ())
    counts = f"{data['num_train']:,} training and {data['num_test']:,} test images" if "num_train" in data else ""
    kinds = f"{len(classes)} classes" if classes else ""
    yield "data", "; ".join(part for part in (study.data.name, counts, kinds) if part)
    if data.get("num_val"):
        yield "validation", f"{data['num_val']:,} images, the data set's own validation part, the same for every repeat"
    elif study.split.fraction:
        yield "validation", f"{100 * study.split.fraction:g} % of the training images, {study.split.method} split"


def _budget(material: Material) -> Iterator[tuple[str, str]]:
    study, planned = material.study, material.status.num_planned
    search = study.search
    trials = counted(planned, "trial")
    if planned != search.trials:
        trials += f" ({search.trials:,} in the study file, extended since)"
    time = f", at most {search.time_budget_mins:g} minutes" if search.time_budget_mins else ""
    scheduler = "none is stopped early" if search.scheduler == "none" else f"{search.scheduler} stops them early"
    blocks = f" on {search.blocks} blocks each" if search.blocks > 1 else ""
    yield "budget", f"{trials} of {counted(study.train.epochs, 'epoch')}{blocks}{time}; {scheduler}"
    yield "sampler", search.sampler
    size = study.build_space().size
    free = study.build_space().free
    points = "continuous" if size is None else f"{counted(size, 'point')}"
    yield "space", f"{study.space_name}: {points}, {counted(len(free), 'free parameter')}"


def _claim(material: Material) -> Iterator[tuple[str, str]]:
    document, section = material.document, material.study.compare
    declared = (document.declared if document else None) or declaration_of(section)
    baselines = ", ".join(like if isinstance(like, str) else "a point" for like in section.baselines)
    if baselines:
        yield "baselines", baselines
    yield "declared family", declared.family if isinstance(declared.family, str) else ", ".join(declared.family)
    confirm = declared.confirm if document and document.race else None
    raced = f"{confirm} fresh ones, after a race of at most " if confirm else ""
    if declared.interim:
        shares = ", ".join(
            str(declared.repeats * share // declared.interim) for share in range(1, declared.interim + 1)
        )
        yield "paired repeats", f"at most {declared.repeats}, analysed after {shares} (bounds of O'Brien and Fleming)"
    else:
        yield "paired repeats", f"{raced}{declared.repeats}"
    rate = f"{declared.alpha:g}, adjusted by {declared.adjust} within each family"
    yield "error rate", f"{rate} ({declared.error_rate})" if declared.error_rate else rate
    yield "practically equivalent", f"within ±{100 * declared.rope:g} percentage points"
    told = {comparison.estimand for comparison in material.comparisons}
    estimand = "; ".join(sorted(told)) or ESTIMANDS.get(declared.estimand, ESTIMANDS["new-data"])
    yield "claims are about", estimand


def _families(material: Material) -> Iterator[Html]:
    """Yield the declared comparisons of each family."""
    if not material.comparisons:
        return
    rows = [
        (name or "the declared family", str(len(pairs)), "; ".join(f"{pair.a} against {pair.b}" for pair in pairs))
        for name, pairs in ((name, list(members)) for name, members in groupby(material.comparisons, group_name))
    ]
    whole = table(("family", "comparisons", "pairs"), rows, caption="Declared before the first run", words=(0, 2))
    count = len(material.comparisons)
    yield folded_away("The declared comparison" if count == 1 else f"The {count} declared comparisons", whole)


def _space(study: StudyConfig) -> Html:
    space = study.build_space()
    free = set(space.free)
    searched = [parameter for parameter in space.parameters if parameter.name in free]
    fixed = [parameter for parameter in space.parameters if parameter.name not in free]
    rows = [(parameter.name, parameter.domain.describe(), _when(parameter)) for parameter in searched]
    parts = [table(("parameter", "values", "only when"), rows, caption="Parameters that vary", words=(0, 1, 2))]
    if fixed:
        settled = ", ".join(f"{item.name} {_only(item)}" for item in fixed)
        parts.append(tag("p", tag("strong", "Fixed: "), settled, "."))
    recipe = ", ".join(f"{name} {value}" for name, value in asdict(study.train).items() if value is not None)
    parts.append(tag("p", tag("strong", "Training settings outside the space: "), recipe, "."))
    if study.model:
        model = ", ".join(f"{name} {value}" for name, value in study.model.items())
        parts.append(tag("p", tag("strong", "Model settings: "), model, "."))
    return folded_away(f"The space: {counted(len(searched), 'free parameter')}", *parts)


def _only(parameter: Parameter) -> str:
    return str(parameter.domain.value) if isinstance(parameter.domain, Fixed) else parameter.domain.describe()


def _when(parameter: Parameter) -> str:
    return " or ".join(" and ".join(_says(test) for test in clause) for clause in parameter.when) or "always"


def _says(test: Test) -> str:
    values = ", ".join(str(value) for value in test.values)
    one_of = "one of " if len(test.values) > 1 else ""
    return f"{test.name} is {'not ' if test.negated else ''}{one_of}{values}"
