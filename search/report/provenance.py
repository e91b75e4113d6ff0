"""Report section: provenance, and how to reproduce the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from search.report.markup import Html, definitions, section, table, tag
from search.report.material import Material
from search.report.picture import folded_away
from search.study.config import to_dict
from search.text.counted import counted


def make(material: Material) -> Html:
    """Return the section: commands, data, versions, repeats, and the study file."""
    study = material.study
    resolved = yaml.safe_dump(to_dict(study), sort_keys=False, allow_unicode=True)
    steps = "\n".join(f"hybrid-search {command} study.yaml" for command in ("sweep", "compare", "report"))
    return section(
        "provenance",
        "How to reproduce this",
        tag(
            "p",
            "The same file, versions and device give the same weights for every point, and with one trial at a time "
            "also the same points.",
        ),
        tag("pre", tag("code", steps), attributes={"tabindex": "0"}),
        definitions(_facts(material)),
        *_sessions(material),
        *_blocks(material),
        folded_away("study.yaml, with every default", tag("pre", tag("code", resolved), attributes={"tabindex": "0"})),
    )


def _facts(material: Material) -> list[tuple[str, str]]:
    last, document = material.last, material.document
    facts = [("study folder", str(material.study.folder)), ("study seed", str(material.study.seed))]
    if last.get("data"):
        facts.append(("data digest", str(last["data"]["digest"])))
    facts.append(("git", str(last.get("git") or "not in a repository")))
    if document:
        facts += [("comparison", document.key), ("analyses of these repeats", str(document.num_looks))]
    machines = {tuple(record.machine.items()) for record in (*material.trials, *material.repeats) if record.machine}
    facts.append(("computed on", "; ".join(sorted(_describe(dict(machine)) for machine in machines)) or "unknown"))
    return facts


def _describe(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _sessions(material: Material) -> list[Html]:
    """Return the versions, once per command and set of versions."""
    if not material.sessions:
        return []
    latest = {str(session["verb"]): session for session in material.sessions}
    names = list(dict.fromkeys(name for session in latest.values() for name in session.get("versions", {})))
    rows = [(name, *(str(session.get("versions", {}).get(name, "-")) for session in latest.values())) for name in names]
    rows.append(("revision", *((str(session.get("git") or "-"))[:12] for session in latest.values())))
    return [table(("version of", *latest), rows, caption="Software at the last run of each command")]


def _blocks(material: Material) -> list[Html]:
    blocks = material.document.blocks if material.document else ()
    if not blocks:
        return []
    rows = [(block.name, *map(str, (block.split_seed, block.init_seed, block.order_seed))) for block in blocks]
    whole = table(("repeat", "split", "weights", "order"), rows, caption="Seeds of the repeats")
    return [folded_away(f"Seeds of {counted(len(blocks), 'repeat')}", whole)]
