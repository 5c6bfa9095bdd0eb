"""Search operations by words: BM25F over their names, descriptions and the phrases that users say for them.

Scoring: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
Foundations and Trends in Information Retrieval 3(4), 2009, section 3.6: the term frequencies of
the fields are weighted and added before they saturate. The sum is multiplied by the share of the query's words that an
operation has, and rises with the cosine similarity of the query and the operation's nearest phrase.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from math import log, sqrt

from opencode_mcp.catalog import Operation
from opencode_mcp.catalog.generation import Generation

Words = Sequence[str]
"""The stems of a text, without stop words."""

Postings = Mapping[str, Mapping[int, float]]
"""For each word the numbers of the texts that have it, with its weight there."""

WEIGHTS = {"name": 4.0, "description": 1.0, "phrases": 1.0}
"""How much a word counts in each field."""

SATURATION = 3.0
"""BM25's k1: the term frequency at which the score is half of its maximum; one word in a name has 4."""

LENGTH_WEIGHT = 0.5
"""BM25's b: how strongly a long field reduces the score of a word."""

OTHER_API_FACTOR = 0.4
"""The weight of an operation of the v2 API, or of v1 if the query says v2. The v2 API does not see v1 messages."""

UNAVAILABLE_FACTOR = 0.15
"""The weight of an operation that has no result in any case."""

DEPRECATED_FACTOR = 0.7
"""The weight of a deprecated operation."""

RELATED_SHARE = 0.25
RELATED_LIFT = 3.0
"""A word is related to a word of names if this share of the operations so named have it in their phrases, which is so
many times the share among all operations."""

STOP_WORDS = frozenset(
    """
    a am an and any are as at be been but by can could did do does for from had has have how i if in into is it its
    just me my of on or our please shall should so some than that the their them then there these they this those to
    us was we were when will with would you your
    """.split()
)

COMPOUNDS = {
    re.compile(rf"\b{two_words}\b"): word
    for two_words, word in {
        "(?:log|sign)[- ]?in(?:to)?": "login",
        "(?:log|sign)[- ]?out": "logout",
        "(?:terminal|text) ui": "tui",
    }.items()
}
"""Words that mean something else than their parts: `log in` is not about logs, nor `terminal UI` about terminals."""

WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
VOWEL = re.compile(r"[aeiouy]")

MIN_MISSPELT_CHARS = 5
"""A shorter unknown word is rather another word than a misspelt one: `team` is not `them`."""


class OperationSearch:
    """An index of operations, built once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations = tuple(operations)
        said = [[parse_words(phrase) for phrase in phrases_of(operation)] for operation in self._operations]
        fields = [
            {
                "name": parse_words(operation.name),
                "description": parse_words(f"{operation.title} {operation.description}"),
                "phrases": [word for phrase in own for word in phrase],
            }
            for operation, own in zip(self._operations, said, strict=True)
        ]
        self._postings = build_postings(fields)
        self._rarity = {
            word: log(1 + (len(fields) - len(found) + 0.5) / (len(found) + 0.5))
            for word, found in self._postings.items()
        }
        self._spellings = index_spellings(self._postings)
        self._phrases = [(number, frozenset(phrase)) for number, own in enumerate(said) for phrase in own if phrase]
        self._phrases_by_word = self._index_phrases()

    def search(self, query: str, limit: int = 8) -> list[Operation]:
        """Return the operations that match a query best, the best first; none if no word is known."""
        words = self._known_words(query)
        complete = sum(self._rarity[word] for word in words)
        relevance: defaultdict[int, float] = defaultdict(float)
        coverage: defaultdict[int, float] = defaultdict(float)
        for word in words:
            for number, weight in self._postings[word].items():
                relevance[number] += self._rarity[word] * weight
                coverage[number] += self._rarity[word] / complete
        similarity = self._nearest_phrases(words)
        wants_v2 = "v2" in words
        # Rounded, so that operations with the same words are equal whatever the order of the sums.
        scores = {
            number: round(total * coverage[number] * (1 + similarity[number]) * self._rank_factor(number, wants_v2), 9)
            for number, total in relevance.items()
        }
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        return [self._operations[number] for number in ranked[:limit]]

    def _known_words(self, query: str) -> list[str]:
        """Return the query's words that the index has, each once; a misspelt word as the one it is nearest to."""
        spelt = (word if word in self._postings else self._correct(word) for word in parse_words(query))
        return list(dict.fromkeys(word for word in spelt if word))

    def _correct(self, word: str) -> str:
        """Return the known word in most operations that is this one but for a letter, "" if there is none."""
        if len(word) < MIN_MISSPELT_CHARS:
            return ""
        near = {known for variant in spelling_variants(word) for known in self._spellings.get(variant, ())}
        return max(near, key=lambda known: (len(self._postings[known]), known), default="")

    def _index_phrases(self) -> Postings:
        """Return for each word the phrases that have it, with its part of their cosine similarity to a query."""
        index: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for number, (_, phrase) in enumerate(self._phrases):
            length = self._length(phrase)
            for word in phrase:
                index[word][number] = self._rarity[word] ** 2 / length
        return index

    def _nearest_phrases(self, words: Words) -> defaultdict[int, float]:
        """Return for each operation the cosine similarity of the query and its nearest phrase, from 0 to 1."""
        overlaps: defaultdict[int, float] = defaultdict(float)
        for word in words:
            for number, part in self._phrases_by_word.get(word, {}).items():
                overlaps[number] += part
        length = self._length(words)
        nearest: defaultdict[int, float] = defaultdict(float)
        for number, overlap in overlaps.items():
            operation = self._phrases[number][0]
            nearest[operation] = max(nearest[operation], overlap / length)
        return nearest

    def _length(self, words: Iterable[str]) -> float:
        """Return the Euclidean length of the vector of some words."""
        return sqrt(sum(self._rarity[word] ** 2 for word in words))

    def _rank_factor(self, number: int, wants_v2: bool) -> float:
        """Return the factor of an operation's score: lower for the other API, without a result, or deprecated."""
        operation = self._operations[number]
        factor = 1.0 if operation.name.startswith("v2_") == wants_v2 else OTHER_API_FACTOR
        factor *= UNAVAILABLE_FACTOR if operation.id in operation.generation.annotations.unavailable else 1.0
        return factor * DEPRECATED_FACTOR if operation.deprecated else factor


def phrases_of(operation: Operation) -> Sequence[str]:
    """Return what users say for an operation; for one of a newer document, its title and the related words."""
    if own := operation.generation.phrases.get(operation.id):
        return own
    name = parse_words(operation.name)
    related = related_words(operation.generation)
    return [" ".join([*name, *(other for word in name for other in related.get(word, ()))]), operation.title]


@cache
def related_words(generation: Generation) -> Mapping[str, Words]:
    """Return for each word of names what users say for it: `session` is also `chat` and `conversation`."""
    phrases = generation.phrases
    said = {operation_id: set(parse_words(" ".join(own))) for operation_id, own in phrases.items()}
    named: defaultdict[str, list[str]] = defaultdict(list)
    for operation_id in phrases:
        for word in parse_words(operation_id):
            named[word].append(operation_id)
    total = Counter(word for words in said.values() for word in words)
    return {
        word: typical_words(word, [said[operation_id] for operation_id in operations], total, len(phrases))
        for word, operations in named.items()
        if len(operations) > 1
    }


def typical_words(name: str, said: Sequence[set[str]], total: Counter[str], count: int) -> Words:
    """Return the words that are said for `RELATED_SHARE` of the operations with a name, and rarely for others.

    `total` counts how many of all `count` operations each word is said for.
    """
    found = Counter(word for words in said for word in words if word != name)
    share = {word: count / len(said) for word, count in found.items()}
    lift = {word: share[word] * count / total[word] for word in found}
    return [word for word in found if share[word] >= RELATED_SHARE and lift[word] >= RELATED_LIFT]


def build_postings(documents: Sequence[Mapping[str, Words]]) -> dict[str, dict[int, float]]:
    """Return the saturated frequency of each word in each document (BM25F), without the word's rarity."""
    averages = {field: sum(len(doc[field]) for doc in documents) / max(1, len(documents)) or 1 for field in WEIGHTS}
    frequencies: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for number, document in enumerate(documents):
        for field, weight in WEIGHTS.items():
            length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(document[field]) / averages[field]
            for word in document[field]:
                frequencies[word][number] += weight / length
    return {
        word: {number: frequency / (SATURATION + frequency) for number, frequency in found.items()}
        for word, found in frequencies.items()
    }


def spelling_variants(word: str) -> set[str]:
    """Return a word and the word without each of its letters: one edit apart, two words share a variant."""
    return {word, *(word[:index] + word[index + 1 :] for index in range(len(word)))}


def index_spellings(words: Iterable[str]) -> dict[str, list[str]]:
    """Return the words of `MIN_MISSPELT_CHARS` or more by their variants."""
    index: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        if len(word) >= MIN_MISSPELT_CHARS:
            for variant in spelling_variants(word):
                index[variant].append(word)
    return index


def parse_words(text: str) -> list[str]:
    """Return the stems of a text's words, without stop words."""
    return [stem(word) for word in tokenize(text) if word not in STOP_WORDS]


def tokenize(text: str) -> list[str]:
    """Split a text or a name; `to-do` is both `todo` and its parts."""
    text = CAMEL.sub(" ", text.replace("_", " ")).lower()
    for pattern, compound in COMPOUNDS.items():
        text = pattern.sub(compound, text)
    tokens: list[str] = []
    for word in WORD.findall(text):
        parts = word.split("-")
        tokens += [word.replace("-", ""), *parts] if len(parts) > 1 else parts
    return tokens


@lru_cache(4096)
def stem(word: str) -> str:
    """Take off a plural's ending, or -ing or -ed, and a last e: `changes`, `changing`, `change` are one."""
    if word.endswith(("ies", "ied")) and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1].removesuffix("e")
    for suffix in ("ing", "ed"):
        root = word.removesuffix(suffix)
        if root != word and not word.endswith("eed") and VOWEL.search(root):
            doubled = len(root) > 3 and root[-1] == root[-2] and root[-1] not in "lsz"
            return root[:-1] if doubled else root
    return word.removesuffix("e") if len(word) > 3 else word
