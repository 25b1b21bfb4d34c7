"""What requests bring and every answer of the API may be. Does not belong here: what the engine's values are."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Given(BaseModel):
    """A request's body: a field that is not known is an error, and so is one of another type."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request was not done: what was expected, what was found, what to do."""

    error: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or one that is unknown, revoked or has expired"},
    403: {"model": Problem, "description": "The token has not the scope"},
    404: {"model": Problem, "description": "There is no such thing"},
    422: {"model": Problem, "description": "The request cannot be done as it is"},
    503: {"model": Problem, "description": "The database or the lake is away"},
}

Text = Annotated[str, Field(max_length=2000)]
