"""The local server of the explorer: one page, and its requests to the model."""

import errno
import importlib.util
import ipaddress
import json
import os
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from pvae import memory
from pvae.explore.document import document, policy
from pvae.explore.explorer import Explorer
from pvae.messages import brief, one_line, shorten

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BYTES = 20 * 2**20  # of the body of a request
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered, with the status of the response and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def serve(
    explorer: Explorer, host: str = "127.0.0.1", port: int = 8787, browser: bool = True
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        explorer: the model and its data.
        host: the address to listen on; any but 127.0.0.1 lets other machines in.
        port: the port; 0 for any that is free.
        browser: whether to open the page in the browser.

    Raises:
        OSError: if the port is in use, or there is no such address.
        RuntimeError: if Starlette or uvicorn are not installed.
    """
    require()
    listening = listen(host, port)
    token = secrets.token_urlsafe(16)
    own = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{own}]" if ":" in own else own
    address = f"http://{shown}:{listening.getsockname()[1]}/?token={token}"
    server = server_of(explorer, token, host)
    print(f"The explorer is at {address}\nCtrl-C ends it.", flush=True)
    if host not in LOOPBACK:
        print(
            f"It listens on {host}: whoever can reach this machine and knows the token can use "
            "the model and see its data, unencrypted.",
            flush=True,
        )
    if browser and _has_browser():
        threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
    # uvicorn raises again, once it has stopped, the interrupt that stopped it.
    with closing(listening), suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    explorer.close()


def server_of(explorer: Explorer, token: str, host: str = "127.0.0.1") -> "uvicorn.Server":
    """The server of `application`, which does not run yet.

    Args:
        explorer: the model and its data.
        token: the secret that the address of the page holds.
        host: the address that it listens on.
    """
    import uvicorn

    config = uvicorn.Config(
        application(explorer, token, host),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        limit_concurrency=200,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def require() -> None:
    """Raise if the packages that the server needs are not installed.

    Raises:
        RuntimeError: if they are not.
    """
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(
            f"The explorer needs {' and '.join(missing)}: run pip install 'pvae[explore]', or "
            "write a page that needs no server by --out page.html."
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        OSError: if the port is in use or not allowed, or there is no such address.
    """
    try:
        # With the protocol named, asyncio sends small answers at once (TCP_NODELAY).
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise OSError(
            errno.EADDRNOTAVAIL, f"There is no address {host!r} on this machine: give another host."
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        sentences = {
            errno.EADDRINUSE: f"Port {port} is in use: choose another, or 0 for any that is free.",
            errno.EACCES: f"Port {port} is not allowed: choose one above 1023.",
        }
        default = f"It cannot listen on {host}, port {port}: {brief(error.strerror or error)}."
        raise OSError(error.errno, sentences.get(error.errno or 0, default)) from error
    return listening


def application(explorer: Explorer, token: str, host: str = "127.0.0.1") -> "Starlette":
    """The web application: the page at /, and its requests at /api/NAME.

    A request is refused unless it names this server as its host, comes from its page and has the
    token. No path of a request is a path of the file system.

    Args:
        explorer: the model and its data.
        token: the secret that the address of the page holds.
        host: the address that it listens on.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    page = document(explorer.title)
    headers = HEADERS | {"Content-Security-Policy": policy("'self'") + "; frame-ancestors 'none'"}

    async def show(request: "Request") -> "Response":
        try:
            check_host(request, host)
            if not is_same(request.query_params.get("token", ""), token):
                raise Refused(403, "The address has no valid token: open the one that was printed.")
        except Refused as error:
            text = f"<!doctype html><title>pvae</title><p>{error}"
            return HTMLResponse(text, error.status, HEADERS)
        return HTMLResponse(page, headers=headers)

    async def answer(request: "Request") -> "Response":
        try:
            check_host(request, host)
            if not is_same(request.headers.get("authorization", ""), f"Bearer {token}"):
                raise Refused(403, "The token is wrong: open the address that was printed.")
            body = await read_body(request)
            name = request.path_params["name"]
            if name == "picture":
                found = await run_in_threadpool(explorer.picture, body)
            else:
                found = await run_in_threadpool(explorer.answer, name, as_object(body))
            return JSONResponse(found, headers=HEADERS)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        except Exception as error:  # the model and its parts may raise any, and the server goes on
            return refusal(*status_of(error))

    async def unknown(request: "Request", error: Exception) -> "Response":
        status = error.status_code if isinstance(error, HTTPException) else 500
        return refusal(status, "There is no such page, or it takes no such request.")

    def refusal(status: int, sentence: str) -> "Response":
        return JSONResponse({"error": shorten(sentence)}, status, HEADERS)

    return Starlette(
        routes=[Route("/", show), Route("/api/{name}", answer, methods=["POST"])],
        exception_handlers={HTTPException: unknown},
    )


def is_same(given: str, secret: str) -> bool:
    """Whether a secret is right, compared in constant time."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def check_host(request: "Request", host: str) -> None:
    """Raise unless a request names this server, and comes from no page but its own.

    A page elsewhere cannot send requests here under its own name, nor under one that it has
    pointed at this machine.

    Raises:
        Refused: if it does not.
    """
    named = request.headers.get("host", "")
    name = named.rpartition(":")[0] if named.rpartition(":")[2].isdigit() else named
    name = name.strip("[]").lower()
    known = {*LOOPBACK, host.lower()}
    if host not in LOOPBACK:  # other machines call it by an address or by its name
        known |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    if name not in known and not (host not in LOOPBACK and _is_address(name)):
        raise Refused(403, "The request names another host: open the address that was printed.")
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{named}":
        raise Refused(403, "The request comes from another site, which may not use this one.")


async def read_body(request: "Request") -> bytes:
    """Read the body of a request, up to a bound.

    Raises:
        Refused: if it is longer.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            most = MOST_BYTES // 2**20
            raise Refused(413, f"The request is too large: send at most {most} MiB.")
    return bytes(body)


def as_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        ValueError: if it is none.
    """
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ValueError("The request is not valid JSON.") from error
    if not isinstance(found, dict):
        raise ValueError("The request must be a JSON object.")
    return found


def status_of(error: Exception) -> tuple[int, str]:
    """The status and the sentence for an error."""
    if isinstance(error, Refused):
        return error.status, str(error)
    if isinstance(error, LookupError) and not isinstance(error, KeyError | IndexError):
        return 404, one_line(error)
    if memory.ran_out(error):
        return 500, "The memory is not enough: ask for less at a time."
    if isinstance(error, ValueError):
        return 400, one_line(error)
    return 500, f"The model failed: {type(error).__name__}: {brief(error)}."


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _has_browser() -> bool:
    """Whether there is a screen: a browser in the terminal would take it over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
