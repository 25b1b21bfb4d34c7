"""Logs: lines on stderr, for people on a terminal and as JSON elsewhere. Results never go here, nor here to stdout.

A traceback is shown without the values of its variables: any of them may hold a secret.
"""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor


class _Stderr:
    """Stderr as it is when a line is written: whoever redirects it meanwhile, or closes what it was, loses no line."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(level: str) -> None:
    """Send everything that this process logs to stderr, from `level` up. Programs call it once, at their start."""
    renderer: Processor
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if sys.stderr.isatty() else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=False,
    )
