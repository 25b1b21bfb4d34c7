"""The pages: one module each, which asks the engine and shows the answer.

Belongs here: what is on a page, and the forms that act. Does not belong here: who may see it (``console.security``),
finding it out (``ledgerlake``).
"""

from fastapi import APIRouter

from console.pages import audit, connections, cost, integrity, links, money, overview, people, records, sources


def pages() -> APIRouter:
    """The routes of all pages."""
    router = APIRouter()
    for page in (overview, connections, integrity, records, links, sources, money, cost, people, audit):
        router.include_router(page.router)
    return router
