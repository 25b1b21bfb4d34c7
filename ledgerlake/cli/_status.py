"""Health at a glance: what `ledgerlake status` looks at, each part by itself, so that one that fails hides no other."""

from collections import Counter
from typing import Any

from ledgerlake.cli import _show
from ledgerlake.errors import LedgerlakeError
from ledgerlake.local import Servers
from ledgerlake.settings import Settings
from ledgerlake.store import Store, position


def look(settings: Settings, where: Servers, store: Store) -> dict[str, Any]:
    """Everything that status shows, as JSON."""
    from ledgerlake.lake import Lake

    found: dict[str, Any] = {
        "home": str(settings.home),
        "postgres": "embedded" if settings.postgres_url is None else "named",
        "s3": where.s3.url,
        "s3_endpoint": where.s3.endpoint,
    }
    at = position(where.postgres_url)
    found["store"] = {"version": at.at, "newest": at.newest, "current": at.current}
    if not at.current:
        return found
    known = store.connections()
    synced = [one.last_synced_at for one in known if one.last_synced_at is not None]
    found["connections"] = dict(Counter(one.state for one in known))
    found["paused"] = {name: one.reason for name, one in store.providers().items() if one.state == "paused"}
    found["last_synced_at"] = max(synced, default=None)
    found["quarantined"] = _quarantined(store)
    try:
        lake = Lake(where, settings).status()
        found["lake"] = {
            "snapshot": lake.snapshot,
            "published_at": lake.published_at,
            "build_id": lake.build_id,
            "behind": list(lake.dirty),
        }
    except LedgerlakeError as error:
        found["lake"] = {"error": str(error)}
    return found


def _quarantined(store: Store) -> int:
    with store.connect() as connection:
        row = connection.execute("SELECT count(*) FROM raw.quarantine WHERE released_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])


def show(found: dict[str, Any]) -> None:
    rows = [["home", found["home"]], ["PostgreSQL", found["postgres"]]]
    rows.append(["S3", f"{found['s3']} at {found['s3_endpoint'] or 'AWS'}"])
    store = found["store"]
    if store["version"] is None:
        rows.append(["store", "not made yet; `ledgerlake migrate` or the first command that needs it makes it"])
    elif not store["current"]:
        rows.append(
            ["store", f"version {store['version']}, this code needs {store['newest']}: run `ledgerlake migrate`"]
        )
    else:
        rows.append(["store", f"version {store['version']}"])
        states = ", ".join(f"{count} {state}" for state, count in sorted(found["connections"].items()))
        rows.append(["connections", states or "none"])
        rows += [["paused", f"all of {name}: {reason}"] for name, reason in found["paused"].items()]
        rows.append(["last sync", _show.ago(found["last_synced_at"])])
        rows.append(["in quarantine", f"{found['quarantined']:,}"])
        lake = found["lake"]
        if "error" in lake:
            rows.append(["lake", lake["error"]])
        elif lake["snapshot"] is None:
            rows.append(["lake", "nothing is published yet"])
        else:
            rows.append(["lake", f"snapshot {lake['snapshot']}, published {_show.ago(lake['published_at'])}"])
            behind = ", ".join(str(bucket) for bucket in lake["behind"])
            rows.append(["buckets behind", behind or "none"])
    _show.table(["", ""], rows)
