"""What the tests of connectors share: a server that says whatever a test wants, and retries that do not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import stamina

pytest.register_assert_rewrite("tests.connectors.suite")

from tests.connectors.suite import Server, serving  # noqa: E402 (its asserts tell what they found)

Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`async with serve(say, tls=None) as server`: a server on loopback, stopped at the end."""
    return serving


@pytest.fixture
def anyio_backend() -> str:
    """The only event loop that the product runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def retries_do_not_wait() -> Iterator[None]:
    """Retries as configured, without the pauses between them."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)
