"""Declare the family of comparisons. It is never guessed, since its size changes every adjusted p-value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from search.analysis.faults import AnalysisError, near, some
from search.text.yaml_text import YamlError, read_yaml

Pair = tuple[str, str]
Families = Mapping[str, tuple[Pair, ...]]
"""Family name -> its comparisons (first, second); a single family may have an empty name."""


def declare_families(
    configs: Sequence[str], *, control: str | None = None, all_pairs: bool = False, file: Path | None = None
) -> Families:
    """Return the declared comparisons.

    Args:
        configs: All configurations that have results.
        control: Compare every other configuration with this one.
        all_pairs: Compare every configuration with every later one.
        file: A YAML file: a list of pairs, or family names with a list each; each family has its own error rate.

    Raises:
        AnalysisError: Nothing or more than one option is given, or a name is unknown; one line per fault.
    """
    given = [
        option for option, value in (("--control", control), ("--all-pairs", all_pairs), ("--family", file)) if value
    ]
    if len(given) > 1:
        raise AnalysisError(f"{' and '.join(given)}: expected one of them, found several; remove the others")
    if file is not None:
        return _read(file, configs)
    if all_pairs:
        return {"": tuple(itertools.combinations(configs, 2))}
    if control is not None:
        if control not in configs:
            raise AnalysisError(f"--control: no configuration is called {control!r}; {near(control, configs, 'known')}")
        return {"": tuple((config, control) for config in configs if config != control)}
    if len(configs) == 2:
        return {"": ((configs[0], configs[1]),)}
    raise AnalysisError(
        f"{len(configs)} configurations: expected a declared family of comparisons, because every adjusted p-value "
        "depends on it and a family chosen after seeing the results is invalid; give --control NAME, --all-pairs or "
        f"--family FILE (configurations: {some(configs, 12)})"
    )


def _read(file: Path, configs: Sequence[str]) -> Families:
    try:
        data = read_yaml(file.read_text(encoding="utf-8"))
    except YamlError as error:
        raise AnalysisError(
            *(f"{file}{f', line {line}' if line else ''}: {words}" for line, words in error.faults)
        ) from None
    except UnicodeDecodeError:
        raise AnalysisError(f"{file}: expected YAML in UTF-8, found something else; save it as UTF-8") from None
    except OSError as error:
        raise AnalysisError(f"{file}: cannot be read: {error.strerror}; give a YAML file of pairs") from None
    groups = data if isinstance(data, dict) else {"": data}
    faults = [fault for name, pairs in groups.items() for fault in _faults(str(name), pairs, configs)]
    if faults or not groups:
        raise AnalysisError(*(f"{file}{fault}" for fault in faults or [": expected families, found none; add pairs"]))
    return {str(name): tuple((str(a), str(b)) for a, b in pairs) for name, pairs in groups.items()}


def _faults(name: str, pairs: object, configs: Sequence[str]) -> Iterator[str]:
    where = f", {name}" if name else ""
    if not isinstance(pairs, list) or not pairs:
        found = "nothing" if pairs in (None, []) else repr(pairs)
        yield f"{where}: expected a list of pairs, found {found}; write one `- [first, second]` per line"
        return
    seen: dict[frozenset[str], int] = {}
    for number, pair in enumerate(pairs, start=1):
        at = f"{where}, pair {number}"
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or any(isinstance(side, bool | list | dict | None) for side in pair)
        ):
            mend = "write [first, second], with names such as yes in quotes"
            yield f"{at}: expected two configurations, found {pair!r}; {mend}"
            continue
        sides = [str(side) for side in pair]
        for side in sides:
            if side not in configs:
                yield f"{at}: no configuration is called {side!r}; {near(side, configs, 'known')}"
        if sides[0] == sides[1]:
            yield f"{at}: expected two configurations, found {sides[0]!r} twice; replace one"
        first = seen.setdefault(frozenset(sides), number)
        if first != number:
            yield f"{at}: expected every pair once, found it in pair {first} as well; remove one"
