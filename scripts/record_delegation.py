# pyright: basic, reportMissingTypeStubs=false, reportMissingImports=false
"""Record docs/delegation.svg: a task that Claude Code's user delegates, with a real OpenCode and scripted models.

Three pictures of one terminal: the task runs while the user goes on, its permission is asked in a form, and the model
is woken with the result.

python scripts/record_delegation.py
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio import to_thread
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.setup import open_setup  # noqa: E402 - the repository is not installed
from opencode_mcp.settings import Settings  # noqa: E402
from scripts.record_terminal import cell_style  # noqa: E402
from tests import npm  # noqa: E402
from tests.e2e.assistants import InstalledPrograms  # noqa: E402
from tests.e2e.claude_code import FORM, answer_form, open_claude_code  # noqa: E402
from tests.e2e.delegation import FINISHED, IN_BACKGROUND, DelegatingModel  # noqa: E402
from tests.e2e.delegation_steps import ANSWER, ASK, CONFIG, DELEGATE, RUNNING, STEPS  # noqa: E402
from tests.e2e.terminal_screen import COLUMNS, TerminalScreen  # noqa: E402

PICTURE = ROOT / "docs" / "delegation.svg"
ROWS = 30
TITLES = ("The task runs, and the user goes on", "OpenCode asks for permission", "The model is woken with the result")


def read_rows(screen: TerminalScreen, first: str) -> list[Text]:
    """Return the rows of a screen from the one that begins with a text, in colour; of empty rows only the first."""
    buffer = screen.screen.buffer
    shown = list(screen.screen.display)
    begin = next(number for number, line in enumerate(shown) if line.strip().startswith(first))
    rows = [row for row in range(begin, len(shown)) if shown[row].strip() or (row > begin and shown[row - 1].strip())]
    lines: list[Text] = []
    for row in rows:
        line = Text()
        for style, cells in groupby((buffer[row][column] for column in range(COLUMNS)), cell_style):
            line.append("".join(cell.data for cell in cells), style)
        line.rstrip()
        lines.append(line)
    return lines


def draw_svg(pictures: Sequence[Sequence[Text]]) -> str:
    """Return one SVG with the pictures below each other."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for title, lines in zip(TITLES, pictures, strict=True):
        console.print(Text(f"# {title}", "bold"))
        for line in lines:
            console.print(line, no_wrap=True, crop=True)
        console.print()
    return console.export_svg(title="Claude Code with opencode-mcp", unique_id="delegation")


async def record() -> str:
    """Delegate a task, and return the pictures."""
    with TemporaryDirectory(prefix="opencode-mcp-", ignore_cleanup_errors=True) as name:
        async with open_setup(Path(name)) as setup:
            (setup.project / "opencode.json").write_text(json.dumps(CONFIG))
            installed = InstalledPrograms(await to_thread.run_sync(npm.install_assistants), setup.program)
            password = setup.endpoint.password or ""
            settings = Settings(url=str(setup.endpoint.url), password=password, directory=str(setup.project))
            async with (
                open_claude_code(
                    Path(name) / "claude", installed, setup.environ, settings, DelegatingModel(STEPS)
                ) as claude,
                claude.open() as screen,
            ):
                await screen.enter(DELEGATE)
                await screen.wait_for(IN_BACKGROUND)
                await screen.wait_for(RUNNING)
                await screen.enter(ASK)
                await screen.wait_for(ANSWER)
                await screen.wait_for("still running")
                running = read_rows(screen, "\u276f " + DELEGATE)
                (setup.project / "go").touch()
                await screen.wait_for(FORM)
                form = read_rows(screen, "MCP server")
                await answer_form(screen, "once")
                await screen.wait_for(f"{FINISHED} done: chain")
                woken = read_rows(screen, "\u276f " + ASK)
                return draw_svg((running, form, woken))


if __name__ == "__main__":
    PICTURE.write_text(anyio.run(record))
