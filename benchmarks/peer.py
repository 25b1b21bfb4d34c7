"""The peer: dlt's rest_api source into PostgreSQL, run by the interpreter of an environment that holds dlt alone.

The same pages over the same HTTP from the same server; one resource, `merge` on `id`, a fresh dataset. Paging needs
the id of a page's last row in the next request, which is dlt's own extension point: a paginator of six lines.
Prints one JSON object. Does not belong here: anything of Ledgerlake, which that environment has not got.
"""

import json
import sys
import time
from typing import Any

import dlt  # type: ignore[import-not-found, unused-ignore]
from dlt.sources.helpers.rest_client.paginators import (  # type: ignore[import-not-found, unused-ignore]
    BasePaginator,
)
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found, unused-ignore]


class FromId(BasePaginator):  # type: ignore[misc, unused-ignore]
    """Goes on behind the last row of each page, and ends at an empty one."""

    def __init__(self) -> None:
        super().__init__()
        self._last: str | None = None

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        self._has_next_page = bool(data)
        self._last = data[-1]["id"] if data else None

    def update_request(self, request: Any) -> None:
        request.params = {**(request.params or {}), "from_id": self._last}


def main(url: str, dataset: str, count: int, file_format: str, folder: str) -> None:
    """Load everything, and say how long it took."""
    source = rest_api_source(
        {
            "client": {"base_url": url, "paginator": FromId()},
            "resources": [
                {
                    "name": "transactions",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {"path": "accounts/acc_1/transactions", "params": {"count": count}},
                }
            ],
        }
    )
    pipeline = dlt.pipeline("peer", pipelines_dir=folder, destination="postgres", dataset_name=dataset)
    started = time.perf_counter()
    pipeline.run(source, loader_file_format=None if file_format == "default" else file_format)
    seconds = time.perf_counter() - started
    json.dump({"seconds": seconds, "version": dlt.__version__}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
