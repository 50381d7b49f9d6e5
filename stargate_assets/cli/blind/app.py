"""The page on which people compare two policies blind, as a Starlette app."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import urlsplit

import jinja2
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stargate_assets.cli.blind.live import LiveSession
from stargate_assets.cli.blind.messages import Reply, Said, Wish
from stargate_assets.cli.blind.session import (
    RaterNameError,
    Session,
    UnknownComparisonError,
    check_rater,
)
from stargate_assets.config.model_spec import first_fault
from stargate_assets.method.errors import StargateError

Body = TypeVar("Body", bound=BaseModel)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
JSON_TYPE = "application/json"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("stargate_assets.cli.blind", "page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)


def make_app(session: Session | LiveSession, rater: str | None) -> Starlette:
    """The app of a session. The page asks for the rater's name unless one is given."""
    live = isinstance(session, LiveSession)
    page = _environment.get_template("blind.html.j2").render(
        experiment=session.experiment, rater=rater or "", live=live
    )
    style = _read("stargate_assets.reporting", "report.css") + _read(__package__, "blind.css")
    script = _read(__package__, "blind.js")

    async def show_next(request: Request) -> Response:
        name = check_rater(request.query_params.get("rater", ""))
        found = await run_in_threadpool(session.progress, name)
        return JSONResponse(found.model_dump(), headers=HEADERS)

    def taken(kind: type[Body], keep: Callable[[Body], BaseModel]) -> Any:
        """Takes what the page sends, and shows where that leads to."""

        async def take(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip() != JSON_TYPE:
                return _tell(f"Send {JSON_TYPE}.", 415)
            said = kind.model_validate_json(await request.body())
            found = await run_in_threadpool(keep, said)
            return JSONResponse(found.model_dump(), headers=HEADERS)

        return take

    def constant(content: str, kind: str) -> Any:
        async def show(request: Request) -> Response:
            del request
            return Response(content, media_type=kind, headers=HEADERS)

        return show

    async def show_page(request: Request) -> Response:
        del request
        return HTMLResponse(page, headers=HEADERS)

    handlers: Any = {
        ValidationError: lambda request, error: _tell(first_fault(error), 400),
        RaterNameError: lambda request, error: _tell(str(error), 400),
        UnknownComparisonError: lambda request, error: _tell(str(error), 409),
        StargateError: lambda request, error: _tell(str(error), 503),
    }
    routes = [
        Route("/", show_page),
        Route("/style.css", constant(style, "text/css")),
        Route("/blind.js", constant(script, "text/javascript")),
        Route("/next", show_next),
        Route("/verdicts", taken(Said, session.record), methods=["POST"]),
    ]
    if isinstance(session, LiveSession):
        talks = _read(__package__, "live.js")
        routes += [
            Route("/live.js", constant(talks, "text/javascript")),
            Route("/begin", taken(Wish, session.begin), methods=["POST"]),
            Route("/replies", taken(Reply, session.reply), methods=["POST"]),
        ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(LoopbackOnly)],
        exception_handlers=handlers,
    )


class LoopbackOnly:
    """Refuses what another web page sends: under its own name (Host), or from its own (Origin)."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_own(Headers(scope=scope)):
            refused = PlainTextResponse("This page is for this machine alone.", 403)
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_own(headers: Mapping[str, str]) -> bool:
    """Whether a request is to a name of this machine, and from no page or one of ours."""
    host = headers.get("host", "")
    try:
        named = urlsplit(f"//{host}").hostname
    except ValueError:  # no address
        return False
    return named in LOOPBACK and headers.get("origin", f"http://{host}") == f"http://{host}"


def _tell(said: str, status: int) -> Response:
    return JSONResponse({"error": said}, status, headers=HEADERS)


def _read(package: str | None, name: str) -> str:
    return (files(package or "") / "page" / name).read_text(encoding="utf-8")
