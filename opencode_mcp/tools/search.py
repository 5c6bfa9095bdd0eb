"""Search operations by words: BM25F over their names, titles, descriptions and arguments.

Scoring: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
Foundations and Trends in Information Retrieval 3(4), 2009, section 3.6: the term frequencies of
the fields are weighted and added before they saturate. As in Lucene's classic scoring, the sum is
multiplied by the share of the query's words that an operation has (its "coord" factor).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import log

from opencode_mcp.catalog import Operation

Field = Sequence[str]
Postings = Mapping[int, float]
"""The score of a word for each operation that has it, by the operation's number."""

WEIGHTS = {"name": 4.0, "title": 3.0, "description": 2.0, "arguments": 0.5}
"""How much a word counts in each field."""

SATURATION = 4.0
"""BM25's k1: the term frequency at which the score is half of its maximum; one word in a name has 4."""

LENGTH_WEIGHT = 0.5
"""BM25's b: how strongly a long field reduces the score of a word."""

SYNONYM_WEIGHT = 0.7
"""The weight of a synonym, relative to the word itself."""

COMMON_ARGUMENT_SHARE = 0.25
"""An argument that a larger share of the operations has, such as `directory`, distinguishes none of them."""

OTHER_API_FACTOR = 0.8
"""The weight of an operation of the v2 API, or of v1 if the query says v2. The v2 API does not see v1 messages."""

DEPRECATED_FACTOR = 0.8
"""The weight of a deprecated operation."""

STOP_WORDS = frozenset(
    """
    a am an and any are as at be been but by can could did do does for from had has have how i if in into is it its
    just me my of on or our please shall should so some than that the their them then there these they this those to
    us was we were when will with would you your
    """.split()
)

SYNONYMS: dict[str, tuple[str, ...]] = {
    # What is done.
    "add, make, new, open, start": ("create",),
    "add": ("set",),
    "allow, approve, deny, grant, permit": ("permission reply",),
    "answer, respond": ("reply",),
    "ask, say, tell": ("prompt", "send message"),
    "authentication, authorize, log in, login, sign in": ("auth",),
    "branch off, copy, duplicate": ("fork",),
    "cancel, interrupt, kill, stop, terminate": ("abort",),
    "abort, halt, stop": ("interrupt",),
    "change": ("update", "switch"),
    "checkout, clone, copy": ("worktree",),
    "choose, pick": ("select", "list"),
    "clone, duplicate": ("copy",),
    "close, end, kill, terminate": ("remove",),
    "compress, shorten, shorter, shrink": ("compact", "summarize"),
    "delete, drop, erase, forget, get rid, revoke, throw away": ("remove",),
    "deny, dismiss, refuse": ("reject",),
    "drop, erase, get rid, remove, throw away": ("delete",),
    "edit, modify, write": ("update",),
    "execute": ("run",),
    "fetch, read": ("get",),
    "display, see, show, view, what, which": ("get", "list"),
    "give": ("allow",),
    "grep": ("find text",),
    "install, register": ("add",),
    "log out, logout, sign out": ("auth remove",),
    "move": ("warp",),
    "publish": ("share",),
    "quit, restart": ("dispose",),
    "rename": ("update title", "update name"),
    "resize": ("update size",),
    "restore": ("unrevert",),
    "rollback, undo": ("revert",),
    "search": ("find",),
    "stream, watch": ("subscribe",),
    "take back": ("remove", "revert"),
    "take over": ("steal",),
    "type": ("input",),
    "update": ("upgrade",),
    "upgrade": ("update",),
    # What it is done to.
    "agent, chat, conversation, thread": ("session",),
    "always": ("saved",),
    "approval": ("permission",),
    "branch": ("vcs", "worktree"),
    "class, function": ("symbol",),
    "code": ("file",),
    "console, shell, terminal": ("pty",),
    "content": ("read",),
    "conversation, history": ("message",),
    "credential": ("auth",),
    "diff, difference": ("vcs diff",),
    "folder": ("directory",),
    "git": ("vcs",),
    "key, password, secret": ("auth", "credential"),
    "language server": ("lsp",),
    "llm": ("model",),
    "notification": ("toast",),
    "organisation": ("organization",),
    "preference, setting": ("config",),
    "regex": ("regular expression",),
    "repo, repository": ("project", "vcs"),
    "subagent": ("children",),
    "task": ("todo", "session"),
    "uncommitted": ("vcs status", "vcs diff"),
    # How it is.
    "are the, busy, is the": ("status",),
    "running": ("active", "busy", "work"),
    "waiting": ("pending",),
    "where": ("get", "path"),
    "working": ("active", "busy"),
}
"""Words of a query (one or two) -> phrases with the API's words for them."""

WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
VOWEL = re.compile(r"[aeiouy]")

Phrase = tuple[str, ...]
Meanings = tuple[tuple[Phrase, float], ...]
"""The phrases that a word may mean, with their weights."""


class OperationSearch:
    """An index of operations, built once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations = tuple(operations)
        common = common_arguments(self._operations)
        self._postings = build_postings([index_fields(operation, common) for operation in self._operations])

    def search(self, query: str, limit: int = 8) -> list[Operation]:
        """Return the operations that match a query best, the best first; none if no word is known.

        A word of the query counts as itself or as its best synonym, whichever scores higher for an operation.
        """
        query_words = list(dict.fromkeys(parse_query(query)))
        totals: defaultdict[int, float] = defaultdict(float)
        matched: Counter[int] = Counter()
        for word_meanings in query_words:
            for number, score in self._score_word(word_meanings).items():
                totals[number] += score
                matched[number] += 1
        wants_v2 = "v2" in tokenize(query)
        # Rounded, so that operations with the same words are equal whatever the order of the sums.
        scores = {
            number: round(total * matched[number] / len(query_words) * self._rank_factor(number, wants_v2), 9)
            for number, total in totals.items()
        }
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        return [self._operations[number] for number in ranked[:limit]]

    def _score_word(self, word_meanings: Meanings) -> Postings:
        """Return the scores of a word: of its best meaning for each operation."""
        best: dict[int, float] = {}
        for phrase, weight in word_meanings:
            # The mean of a phrase's words: half a phrase is worth half.
            scores: defaultdict[int, float] = defaultdict(float)
            for word in phrase:
                for number, score in self._postings.get(word, {}).items():
                    scores[number] += score * weight / len(phrase)
            for number, score in scores.items():
                best[number] = max(best.get(number, 0.0), score)
        return best

    def _rank_factor(self, number: int, wants_v2: bool) -> float:
        """Return the factor of an operation's score: lower for the other API, and for deprecated operations."""
        operation = self._operations[number]
        factor = 1.0 if operation.name.startswith("v2_") == wants_v2 else OTHER_API_FACTOR
        return factor * DEPRECATED_FACTOR if operation.deprecated else factor


def parse_query(query: str) -> Iterator[Meanings]:
    """Yield what each word of a query may mean; two words that form a known phrase count as one."""
    remaining = tokenize(query)
    while remaining:
        pair = " ".join(remaining[:2])
        length = 2 if pair in PHRASES else 1
        # `log in` is not about logs: with a stop word in it, only the synonyms of two words count.
        stems = [] if STOP_WORDS.intersection(remaining[:length]) else [stem(word) for word in remaining[:length]]
        synonyms = PHRASES.get(pair if length == 2 else "".join(stems), ())
        remaining = remaining[length:]
        if stems or synonyms:
            yield (*([(tuple(stems), 1.0)] if stems else ()), *((phrase, SYNONYM_WEIGHT) for phrase in synonyms))


def argument_names(operation: Operation) -> list[str]:
    """Return the names of an operation's arguments."""
    body = (operation.body and operation.body.fields) or ()
    return [*(parameter.name for parameter in operation.parameters), *body, *operation.controls]


def common_arguments(operations: Sequence[Operation]) -> set[str]:
    """Return the arguments that too many operations have."""
    takers = Counter(name for operation in operations for name in argument_names(operation))
    return {name for name, count in takers.items() if count > COMMON_ARGUMENT_SHARE * len(operations)}


def index_fields(operation: Operation, common: set[str]) -> dict[str, Field]:
    """Return the words of an operation by field."""
    distinctive = " ".join(name for name in argument_names(operation) if name not in common)
    texts = {
        "name": operation.name,
        "title": operation.title,
        "description": operation.description,
        "arguments": distinctive,
    }
    return {field: [stem(word) for word in tokenize(text) if word not in STOP_WORDS] for field, text in texts.items()}


def build_postings(documents: Sequence[Mapping[str, Field]]) -> dict[str, dict[int, float]]:
    """Return the score of each word for each document (BM25F)."""
    averages = {field: sum(len(doc[field]) for doc in documents) / max(1, len(documents)) or 1 for field in WEIGHTS}
    frequencies: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for number, document in enumerate(documents):
        for field, weight in WEIGHTS.items():
            length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(document[field]) / averages[field]
            for word in document[field]:
                frequencies[word][number] += weight / length
    scores: dict[str, dict[int, float]] = {}
    for word, weights in frequencies.items():
        rarity = log(1 + (len(documents) - len(weights) + 0.5) / (len(weights) + 0.5))
        scores[word] = {number: rarity * frequency / (SATURATION + frequency) for number, frequency in weights.items()}
    return scores


def tokenize(text: str) -> list[str]:
    """Split a text or a name; `to-do` is both `todo` and its parts."""
    tokens: list[str] = []
    for word in WORD.findall(CAMEL.sub(" ", text.replace("_", " ")).lower()):
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


def build_phrases() -> dict[str, list[Phrase]]:
    """Return `SYNONYMS` as stems, by each single word or pair of words."""
    table: defaultdict[str, list[Phrase]] = defaultdict(list)
    for terms, phrases in SYNONYMS.items():
        for term in terms.split(", "):
            table[term if " " in term else stem(term)] += [tuple(map(stem, phrase.split())) for phrase in phrases]
    return dict(table)


PHRASES = build_phrases()
