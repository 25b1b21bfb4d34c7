"""The application: its parts, each under its path, what every answer carries, and the pages of what went wrong."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Literal
from urllib.parse import quote

import psycopg
import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from console.api import api_routes
from console.charts import PLOTLY, plotly
from console.connect import connect_routes
from console.house import CONNECTIONS, STATIC, House, house_of
from console.metrics import health_routes
from console.pages import pages
from console.security import Headers, MustChange, NotSignedIn, sign_in_routes
from console.webhooks import Webhooks
from ledgerlake.errors import NotThere, ServerError, UsageError
from ledgerlake.lake import LakeAway, TooSlow
from ledgerlake.local import S3
from ledgerlake.settings import Settings

Part = Literal["webhooks"]
"""What can be served alone: the webhooks face the internet, the rest need not."""

PATIENCE = 3.0
"""Seconds that a request waits for a connection to PostgreSQL."""
DATABASE_GONE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, ServerError)

_log = structlog.get_logger(__name__)


def create_app(
    settings: Settings,
    postgres_url: str,
    *,
    s3: S3 | None = None,
    only: Part | None = None,
    url: str | None = None,
    follow: bool = False,
) -> FastAPI:
    """The console over the store at that address; all of it, or one part.

    Args:
        s3: where the lake is; None for what the settings name.
        url: where browsers find it.
        follow: have each new snapshot of the lake ready before anybody asks.
    """
    pool = AsyncConnectionPool(
        postgres_url,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=PATIENCE,
        kwargs={"autocommit": True, "connect_timeout": int(PATIENCE)},
        check=AsyncConnectionPool.check_connection,
        name="console",
        open=False,
    )
    webhooks = Webhooks(settings, pool)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool, webhooks.open():
            if house is not None and follow:
                house.follow()
            try:
                yield
            finally:
                if house is not None:
                    house.close()

    app = FastAPI(title="Ledgerlake", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/webhooks", webhooks.app)

    house = None
    if only is None:
        house = House.of(
            settings, postgres_url, _named(s3, settings), url or settings.console_url or "http://127.0.0.1"
        )
        _pages(app, house)
    app.include_router(health_routes(pool, house))
    return app


def _named(s3: S3 | None, settings: Settings) -> S3:
    if (named := s3 or S3.named(settings)) is None:
        raise UsageError("the console needs to know where the lake is: LEDGERLAKE_S3_URL names no S3.")
    return named


def _pages(app: FastAPI, house: House) -> None:
    """The pages and all that goes with them."""
    app.state.house = house
    # Nothing secret is in these, so that their length may tell what is in them.
    app.mount("/static", GZipMiddleware(_Static(directory=STATIC), minimum_size=1000, compresslevel=6))
    app.include_router(sign_in_routes())
    app.include_router(pages())
    app.include_router(api_routes())
    app.include_router(connect_routes())
    app.add_middleware(
        SessionMiddleware,
        secret_key=house.vault.derived("console sign-in")[0].hex(),
        session_cookie=f"{house.cookie}-sign-in",
        max_age=600,
        same_site="lax",
        https_only=house.secure,
    )
    app.add_middleware(Headers, secure=house.secure)
    app.add_exception_handler(NotSignedIn, _sign_in_first)
    app.add_exception_handler(MustChange, _change_first)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UsageError, _wrong)
    app.add_exception_handler(psycopg.DataError, _unstorable)
    for error in DATABASE_GONE:
        app.add_exception_handler(error, _database_gone)
    app.add_exception_handler(LakeAway, _lake_gone)
    app.add_exception_handler(TooSlow, _lake_gone)
    app.add_exception_handler(Exception, _fault)


class _Static(StaticFiles):
    """Files whose address carries their content's hash: they never change under it."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return (str(plotly()), plotly().stat()) if path == PLOTLY else super().lookup_path(path)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if answer.status_code == 200 and b"v=" in scope.get("query_string", b""):
            answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


async def _sign_in_first(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotSignedIn)
    return RedirectResponse(f"/sign-in?back={quote(error.back)}", 303)


async def _change_first(request: Request, error: Exception) -> Response:
    return RedirectResponse("/password", 303)


_TITLES = {401: "Sign in first", 403: "Not allowed", 404: "Not here", 405: "Not so", 413: "Too large"}
_SENTENCES = {
    404: "There is nothing at this address, or it is not for you to see.",
    405: "This address takes other requests than that.",
}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    status = error.status_code
    own = isinstance(error, HTTPException) and isinstance(error.detail, str) and error.detail != "Not Found"
    sentence = error.detail if own else _SENTENCES.get(status, "The request cannot be answered.")
    return _tell(request, status, _TITLES.get(status, "It did not work"), str(sentence), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The field's name and what is wrong with it; never the value, which may be anything.
    wrong = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
    return _tell(request, 422, "Something in it is not right", f"{wrong}.")


async def _wrong(request: Request, error: Exception) -> Response:
    return _tell(request, 404 if isinstance(error, NotThere) else 422, "It cannot be done", str(error))


async def _unstorable(request: Request, error: Exception) -> Response:
    return _tell(request, 422, "Something in it is not right", "Expected text without control characters.")


async def _database_gone(request: Request, error: Exception) -> Response:
    _log.error("database", error=type(error).__name__)
    sentence = "The database does not answer. Nothing is lost; what you did last may have to be done again."
    return _tell(request, 503, "The database is away", sentence, {"retry-after": "5"}, retry=5)


async def _lake_gone(request: Request, error: Exception) -> Response:
    _log.error("lake", error=type(error).__name__)
    return _tell(request, 503, "The lake is away", str(error), {"retry-after": "5"}, retry=5)


async def _fault(request: Request, error: Exception) -> Response:
    _log.exception("a fault of Ledgerlake", path=_shown_path(request), error=type(error).__name__)
    return _tell(request, 500, "A fault of Ledgerlake", "It is in the log. What was kept stays.")


def _shown_path(request: Request) -> str:
    """The path as a log may have it: what follows /connect/ opens a customer's page."""
    path = request.url.path
    return "/connect/…" if path.startswith("/connect/") else path


def _tell(
    request: Request,
    status: int,
    title: str,
    sentence: str,
    headers: Mapping[str, str] | None = None,
    *,
    retry: int | None = None,
) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": sentence}, status, headers)
    reload = retry if request.method == "GET" else None
    answer = house_of(request).render(
        request, "error.html", status=status, title=title, sentence=sentence, retry=reload
    )
    answer.headers.update(headers or {})
    return answer
