"""A small project, and the tasks that scripts/picture_board.py shows on the board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from examples import scripted_model
from tests.browser.stage import Stage
from tests.conftest import QUICK_CONFIG

MODELS = ["gateway/qwen3-coder", "gateway/devstral"]
SECONDS = 120

PRICES = '''"""Prices: what a customer pays."""

from decimal import Decimal


def round_price(amount: Decimal) -> Decimal:
    """Return a price in whole cents."""
    return amount.quantize(Decimal("0.01"))


def total(items: list[Decimal], discount: Decimal = Decimal(0)) -> Decimal:
    """Return the sum of some prices after a discount."""
    return round_price(sum(items) * (1 - discount))
'''
ROUNDED = PRICES.replace("import Decimal\n", "import ROUND_HALF_UP, Decimal\n", 1).replace(
    '(Decimal("0.01"))\n\n\ndef total', '(Decimal("0.01"), ROUND_HALF_UP)\n\n\ndef total'
)
PRICE_TESTS = """from decimal import Decimal

from shop.prices import total


def test_total() -> None:
    assert total([Decimal("1.25"), Decimal("2.50")]) == Decimal("3.75")
"""
MORE_PRICE_TESTS = (
    PRICE_TESTS
    + """

def test_half_a_cent_is_rounded_up() -> None:
    assert total([Decimal("0.125")]) == Decimal("0.13")
"""
)
IMPORTS = '''"""Orders from files."""

import csv
from pathlib import Path


def read_orders(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
'''
IMPORT_TESTS = """import tempfile
import unittest
from pathlib import Path

from shop.imports import read_orders


class ReadOrders(unittest.TestCase):
    def test_a_byte_order_mark_is_no_part_of_the_first_name(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "orders.csv"
            file.write_text("number,customer\\n17,Ada\\n", encoding="utf-8-sig")

            self.assertEqual(read_orders(file), [{"number": "17", "customer": "Ada"}])
"""
FILES: Mapping[str, str] = {
    ".gitignore": "__pycache__/\n",
    "shop/prices.py": PRICES,
    "shop/imports.py": IMPORTS,
    "tests/test_prices.py": PRICE_TESTS,
}

CONFIG: Mapping[str, Any] = {
    **QUICK_CONFIG,
    "$schema": "https://opencode.ai/config.json",
    "permission": {"bash": {"*": "ask", "test *": "allow"}},
}


def provider_config(url: str) -> dict[str, Any]:
    """Return OpenCode's configuration: two models, with prices that are seen although the scripted ones say little."""
    config = scripted_model.provider_config(url)
    model = {"tool_call": True, "limit": {"context": 128_000, "output": 16_000}, "cost": {"input": 90, "output": 400}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Gateway",
        "options": {"baseURL": url, "apiKey": "none"},
        "models": {name.partition("/")[2]: {"name": name, **model} for name in MODELS},
    }
    return {
        **config,
        "model": MODELS[0],
        "small_model": MODELS[0],
        "enabled_providers": ["gateway"],
        "provider": {"gateway": provider},
    }


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"name": name, "args": arguments}


def chain(*calls: Mapping[str, Any]) -> str:
    """Return a prompt for which the model makes calls, one after the other."""
    return f"script:chain {json.dumps(calls)}"


async def run_finished_tasks(stage: Stage) -> tuple[str, str]:
    """Run tasks that have ended, and one that runs on; return the sessions of an answer and of changes."""
    scripted_model.SCRIPTS["denied"] = lambda _: scripted_model.fail(402, "Insufficient credits for this request")
    await stage.run("script:text done", "Explain how discounts are applied to an order")
    await stage.run("script:denied", "Translate the error messages into German")
    answer = await compare_models(stage)
    rounding = await round_prices(stage)
    await search_with_subagent(stage)
    return answer, rounding


async def compare_models(stage: Stage) -> str:
    """Two models answer one task; the answer of the second passes its check."""
    scripted_model.SCRIPTS["encoding"] = answer_with_encoding
    task = {"prompt": "script:encoding", "check": ["python3 -m unittest tests.test_imports"]}
    reports = (await stage.call("run_tasks", tasks=[task], models=MODELS, timeout_seconds=SECONDS))["tasks"]
    sessions = [report["session_id"] for report in reports]
    for session_id in sessions:
        title = "Accept CSV files that begin with a byte order mark"
        await stage.call("session_update", sessionID=session_id, title=title)
    return sessions[-1]


def answer_with_encoding(request: scripted_model.Request) -> list[scripted_model.Piece]:
    """Write the tests, and a solution that depends on the model."""
    encoding = {"qwen3-coder": "utf-8", "devstral": "utf-8-sig"}[request.model]
    imports = IMPORTS.replace('newline=""', f'newline="", encoding="{encoding}"')
    files = {"shop/imports.py": imports, "tests/test_imports.py": IMPORT_TESTS}
    calls = [
        scripted_model.call_tool(request, "write", {"filePath": name, "content": content}, index)
        for index, (name, content) in enumerate(files.items())
    ]
    return scripted_model.call_once(request, *calls)


async def round_prices(stage: Stage) -> str:
    """A task in a worktree, which has changed two files."""
    calls = [
        call(
            "todowrite",
            todos=[{"id": "1", "content": "Round half a cent up", "status": "completed", "priority": "high"}],
        ),
        call("write", filePath="shop/prices.py", content=ROUNDED),
        call("write", filePath="tests/test_prices.py", content=MORE_PRICE_TESTS),
    ]
    report = await stage.run(chain(*calls), "Round prices half up, as accounting does", worktree=True)
    return report["session_id"]


async def search_with_subagent(stage: Stage) -> None:
    """A task that runs, with a subagent that runs too."""
    explore = call("task", description="Find slow queries", prompt="script:hang", subagent_type="general")
    await stage.start(chain(explore), "Make the list of orders faster")


async def ask_for_prefix(stage: Stage) -> str:
    """A task that asks a question."""
    options = [
        {"label": "SHOP_", "description": "As the package; nothing else on our servers uses it"},
        {"label": "APP_", "description": "As in the deployment scripts of today"},
    ]
    question = {"header": "Prefix", "question": "Which prefix shall the variables have?", "options": options}
    return (
        await stage.run(chain(call("question", questions=[question])), "Read the settings from environment variables")
    )["session_id"]


async def ask_to_release(stage: Stage) -> str:
    """A task that asks for a permission."""
    command = "uv version --bump minor && git commit -am 'Release 2.5.0' && git push --follow-tags origin main"
    calls = call("bash", command=command, description="Release the next minor version")
    return (await stage.run(chain(calls), "Release 2.5.0", model=MODELS[1]))["session_id"]
