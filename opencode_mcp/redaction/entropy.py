"""Distinguishes random values, such as keys, from names, paths and phrases, which consist of words.

The measure is the frequency of adjacent letters: 205 pairs make 88% of the pairs of English words and of Python's
names, and 30% of those of random letters.
"""

from __future__ import annotations

import re
from itertools import pairwise

MIN_RANDOM_CHARS = 16
"""A shorter value is not replaced in project content."""

MIN_DISTINCT_CHARS = 8
MIN_UNUSUAL_SHARE = 0.4
"""A value whose share of unusual pairs is not larger consists of words."""

MIN_UNUSUAL_PAIRS = 6
"""The minimum number of unusual pairs in a value's runs of at least `MIN_RUN_CHARS` letters and digits."""

MIN_RUN_CHARS = 6

COMMON_PAIRS = frozenset(
    """
    ab ac ad ag ai al am an ap ar as at au ay ba be bi bl bo br bs bu ca cc ce ch ci ck cl co cr cs ct cu da dd de di
    dl do dr ds du ea ec ed ee ef eg el em en ep er es et ev ex fa fe ff fi fo ge gh gi gr ha he hi ho ht ia ib ic id
    ie if ig il im in io ip ir is it iv iz ke la ld le li ll lo ls lt lu ly ma me mi ml mo mp ms na nc nd ne nf ng ni
    no ns nt nu ob oc od og ol om on oo op or os ot ou ov ow pa pe ph pi pl po pp pr ps pt pu qu ra rc rd re ri rl rm
    rn ro rr rs rt ru ry sa sc se sh si sl so sp ss st su sy ta tc te th ti tl to tr ts tt tu ty ua ub uc ue ui ul um
    un up ur us ut va ve vi wa we wi xp xt yp ze
    """.split()
)
PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\{\{[^}]*\}\}|\{(?:env|file):[^}]*\}|<[^<>]*>")
"""A placeholder that a template, a shell or OpenCode replaces by a value."""

PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[A-Z]?[a-z]+|[.@_][\w.-]+)(?:[/\\]|$)|(?:~|\.{1,2}|[A-Za-z]:)[/\\]")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
SIMPLE_WORD = re.compile(r"[A-Za-z]+\d{0,4}")
SEPARATOR = re.compile(r"[^A-Za-z0-9]+")


def is_random(value: str) -> bool:
    """Whether a value looks random: long, with many distinct characters, and not words, a path or a number."""
    if UUID.fullmatch(value):
        return True
    if len(value) < MIN_RANDOM_CHARS or len(set(value)) < MIN_DISTINCT_CHARS or PATH.match(value):
        return False
    runs = SEPARATOR.split(PLACEHOLDER.sub(" ", value))
    unusual = sum(count_unusual_pairs(run) for run in runs)
    unusual_in_long_runs = sum(
        count_unusual_pairs(run) for run in runs if len(run) >= MIN_RUN_CHARS and not run.isdigit()
    )
    return unusual_in_long_runs >= MIN_UNUSUAL_PAIRS and unusual > MIN_UNUSUAL_SHARE * sum(
        max(0, len(run) - 1) for run in runs
    )


def count_unusual_pairs(run: str) -> int:
    """Count the adjacent characters in a run of letters and digits that are unusual in words and numbers."""
    return sum(not is_common_pair(first, second) for first, second in pairwise(run))


def is_common_pair(first: str, second: str) -> bool:
    """Whether two adjacent characters are usual: letters of one word, or an equal or consecutive pair."""
    if 0 <= ord(second) - ord(first) <= 1:
        return True
    same_word = second.islower() or (first.isupper() and second.isupper())
    return same_word and (first + second).lower() in COMMON_PAIRS


def is_simple_word(value: str) -> bool:
    """Whether a value is a word with at most four digits at its end, which may occur in any text."""
    return len(value) < MIN_RANDOM_CHARS and SIMPLE_WORD.fullmatch(value) is not None
