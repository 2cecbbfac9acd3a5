"""The page as one document: its HTML with style and scripts inside, so that nothing else loads."""

import base64
import gzip
import hashlib
import html
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "source", "drawing", "plane", "latents", "datum", "own", "eraser", "numbers", "main"
)  # fmt: skip


@cache
def style() -> str:
    """The style sheet."""
    return _read("explore.css")


@cache
def script() -> str:
    """The scripts, which share one module."""
    return "\n".join(_read(f"{name}.js") for name in SCRIPTS)


def policy(connect: str) -> str:
    """A content security policy that allows this style and script, and nothing from elsewhere.

    Args:
        connect: where requests may go: ``'self'`` or ``'none'``.
    """
    hashes = {"script-src": script(), "style-src": style()}
    allowed = "; ".join(f"{name} 'sha256-{_hash(text)}'" for name, text in hashes.items())
    return f"default-src 'none'; {allowed}; img-src data: blob:; connect-src {connect}"


def document(title: str, payload: dict[str, Any] | None = None) -> str:
    """The page, as HTML.

    Args:
        title: its title.
        payload: the answers to all its requests, for a page without a server.
    """
    held = meta = ""
    if payload is not None:
        packed = gzip.compress(json.dumps(payload, allow_nan=False).encode(), 9, mtime=0)
        text = base64.b64encode(packed).decode("ascii")
        held = f'<script type="application/gzip" id="payload">{text}</script>'
        content = html.escape(policy("'none'"))
        meta = f'<meta http-equiv="Content-Security-Policy" content="{content}">'
    parts = {
        "title": html.escape(title),
        "policy": meta,
        "payload": held,
        "style": style(),
        "script": script(),
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], _read("index.html"))


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _read(name: str) -> str:
    return (files("pvae.explore") / "page" / name).read_text(encoding="utf-8")
