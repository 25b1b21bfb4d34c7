"""The API under /api/v1: what the pages show and do, as JSON, for programs with a token.

Belongs here: the shapes of requests and answers, and the document that describes them. Does not belong here: what an act
does (``console.acts``), who may (``console.security``).
"""

from functools import cache
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from console.api import _connections, _findings, _links, _records, _status
from console.security import public

_PARTS = (_connections, _findings, _records, _links, _status)


def api_routes() -> APIRouter:
    """The routes of the API, with the document of all of them."""
    router = APIRouter()
    for part in _PARTS:
        router.include_router(part.router)

    @router.get("/api/v1/openapi.json", dependencies=[public("it says how to ask, and nothing of anybody")])
    def openapi() -> dict[str, Any]:
        return document()

    return router


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    described = get_openapi(
        title="Ledgerlake",
        version="1",
        description="Connections, findings and records. Money is an exact decimal as text. Errors are "
        '`{"error": "a sentence"}`. A token of the scope `read` reads, `act` acts; what is personal is masked for all '
        "but `admin`.",
        routes=[route for part in _PARTS for route in part.router.routes],
        tags=[
            {"name": "connections", "description": "Customers' consents, and when they were read."},
            {"name": "findings", "description": "What verification found, and what became of it."},
            {"name": "records", "description": "Search, and a record's way from the provider to the published row."},
            {"name": "connect-links", "description": "What a customer is sent to connect an account."},
            {"name": "status", "description": "What is published, and whether all is well."},
        ],
    )
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"token": []}]
    return described
