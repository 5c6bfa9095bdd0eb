"""Keys as 15 providers give them out, and every place of a configuration where one can stand."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from typing import Any

HEX = "0123456789abcdef"
ALPHANUMERIC = string.ascii_letters + string.digits
URL_SAFE = ALPHANUMERIC + "-_"

Draw = Callable[[str, int], str]

PROVIDERS: Mapping[str, Callable[[Draw], str]] = {
    "openai": lambda draw: f"sk-proj-{draw(URL_SAFE, 60)}",
    "anthropic": lambda draw: f"sk-ant-api03-{draw(URL_SAFE, 93)}AA",
    "github": lambda draw: f"ghp_{draw(ALPHANUMERIC, 36)}",
    "github fine-grained": lambda draw: f"github_pat_{draw(ALPHANUMERIC, 22)}_{draw(ALPHANUMERIC, 59)}",
    "gitlab": lambda draw: f"glpat-{draw(URL_SAFE, 20)}",
    "slack": lambda draw: f"xoxb-{draw(string.digits, 12)}-{draw(string.digits, 13)}-{draw(ALPHANUMERIC, 24)}",
    "aws": lambda draw: draw(ALPHANUMERIC + "/+", 40),
    "google": lambda draw: f"AIza{draw(URL_SAFE, 35)}",
    "stripe": lambda draw: f"sk_live_{draw(ALPHANUMERIC, 24)}",
    "hugging face": lambda draw: f"hf_{draw(string.ascii_letters, 34)}",
    "npm": lambda draw: f"npm_{draw(ALPHANUMERIC, 36)}",
    "sendgrid": lambda draw: f"SG.{draw(URL_SAFE, 22)}.{draw(URL_SAFE, 43)}",
    "azure": lambda draw: draw(HEX, 32),
    "heroku": lambda draw: "-".join(draw(HEX, size) for size in (8, 4, 4, 4, 12)),
    "mistral": lambda draw: draw(ALPHANUMERIC, 32),
}


def draw_keys(provider: str, count: int) -> list[str]:
    """Return keys of a provider, the same in every run."""
    drawn = random.Random(provider)
    return [PROVIDERS[provider](lambda letters, size: "".join(drawn.choices(letters, k=size))) for _ in range(count)]


def make_configuration(key: str) -> dict[str, Any]:
    """Return a configuration of OpenCode with a key in every place where one can stand."""
    path_safe = key.replace("/", "_").replace("+", "-")
    options = {"apiKey": key, "api_key": key, "auth": {"any": key}, "dsn": f"x:{key}", "headers": {"X-Auth": key}}
    local = {
        "type": "local",
        "command": [
            *("npx", "-y", "server", "--token", key, f"--api-key={key}", "--header", f"Authorization: Bearer {key}"),
            *("-H", f"X-Auth: {key}", "-e", f"ANY_NAME={key}", "-u", f"me:{key}", f"--env=DB_PASS={key}"),
            *(f"https://x.test/mcp?api_key={path_safe}", f"Cookie: a={key}", key),
        ],
        "environment": {
            "GITHUB_PAT": key,
            "DB_PASS": key,
            "PINECONE_KEY": key,
            "ANY_NAME": key,
            "DATABASE_URL": f"postgres://me:{path_safe}@db.test/app",
            "HEADERS": json.dumps({"Authorization": f"Bearer {key}", "X-Any": key}),
        },
    }
    shell = {"type": "local", "command": ["sh", "-c", f'ANY={key} server --token {key} -H "X-Auth: {key}" || exit 1']}
    urls = [
        f"http://{path_safe}@mcp.test/mcp",
        f"https://me:{path_safe}@mcp.test/mcp",
        f"https://mcp.test/mcp?api_key={path_safe}&v=1",
        f"https://mcp.test/mcp?a=b#access_token={path_safe}",
        f"https://mcp.test/s/{path_safe}/sse",
    ]
    headers = {"Authorization": f"Bearer {key}", "X-Auth": key, "X-Any": key, "Cookie": f"session={key}"}
    remote = {f"remote{n}": {"type": "remote", "url": url, "headers": headers} for n, url in enumerate(urls)}
    return {
        "provider": {"own": {"env": ["OWN_API_KEY"], "key": key, "options": options}},
        "mcp": {"local": local, "shell": shell, **remote},
        "credentials": [{"type": "api", "key": key}, {"type": "oauth", "access": key, "refresh": key, "expires": 1}],
    }
