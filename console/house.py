"""What all pages work with: settings, the store behind the engine's words, the lake, and how a page is rendered."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from console.charts import PLOTLY, plotly
from console.identity import Limiter, identity_provider
from ledgerlake import figures
from ledgerlake.lake import LakeReader
from ledgerlake.local import S3, Servers
from ledgerlake.people import People
from ledgerlake.settings import Settings
from ledgerlake.store import Store, Vault

if TYPE_CHECKING:
    from console.security import Caller

CONNECTIONS = 8
"""How many connections to PostgreSQL are kept open."""
STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class House:
    """One for the application. `url` is the console's address as browsers see it."""

    settings: Settings
    store: Store
    vault: Vault
    people: People
    lake: LakeReader
    url: str
    limiter: Limiter = field(default_factory=Limiter)
    oidc: Any = None
    environment: Environment = field(default_factory=lambda: _environment())

    @classmethod
    def of(cls, settings: Settings, postgres_url: str, s3: S3, url: str) -> "House":
        store = Store(postgres_url, keep=CONNECTIONS)
        vault = Vault.of(settings)
        lake = LakeReader(Servers(postgres_url, s3), settings)
        return cls(settings, store, vault, People(store), lake, url.rstrip("/"), oidc=identity_provider(settings))

    def follow(self) -> None:
        """Have the newest snapshot ready, with what the pages ask of it, until `close`."""
        self.lake.follow(figures.asked)

    def close(self) -> None:
        """Let go of the lake and of PostgreSQL."""
        self.lake.close()
        self.store.close()

    @property
    def secure(self) -> bool:
        """Whether browsers come by https: then cookies never travel in the clear."""
        return self.url.startswith("https://")

    @property
    def cookie(self) -> str:
        return "__Host-ledgerlake" if self.secure else "ledgerlake"

    def render(
        self, request: Request, template: str, *, status: int = 200, caller: "Caller | None" = None, **given: Any
    ) -> Response:
        """A page. Everything in it is escaped; `caller` None is a page for nobody in particular."""
        text = self.environment.get_template(template).render(
            caller=caller, path=request.url.path, now=datetime.now(UTC), **{"said": "", "name": "", **given}
        )
        return HTMLResponse(text, status)


def house_of(request: Request) -> House:
    """The application's house."""
    house = request.app.state.house
    assert isinstance(house, House)
    return house


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "number": number,
        "money": money,
        "size": size,
        "day": day,
        "at": at,
        "seconds": seconds,
        "sentence": sentence,
    }
    environment.globals["static"] = static
    return environment


_VERSIONS: dict[str, str] = {}


def static(name: str) -> str:
    """The address of a file under static/, with its content's hash: browsers keep it for as long as it is the same."""
    if name not in _VERSIONS:
        path = plotly() if name == PLOTLY else STATIC / name
        _VERSIONS[name] = hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
    return f"/static/{name}?v={_VERSIONS[name]}"


def ago(when: datetime | None) -> str:
    """How long ago, in one unit."""
    if when is None:
        return "never"
    seconds = (datetime.now(UTC) - when).total_seconds()
    for length, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{max(seconds, 0):.0f} s ago"


def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def money(value: Decimal | None) -> str:
    """All its decimals that count, at least two, with thousands apart."""
    if value is None:
        return ""
    text = f"{value:,f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def seconds(value: float | None) -> str:
    """A time that something took, in the unit that people read."""
    if value is None:
        return ""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def size(value: int | None) -> str:
    """Bytes, in the unit that people read."""
    amount = float(value or 0)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def sentence(text: str) -> Markup:
    """A message of the engine as people read it: with a capital, and what stands in backquotes as code."""
    if text.partition(" ")[0].isalpha():
        text = text[0].upper() + text[1:]
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def day(value: date | None) -> str:
    return "" if value is None else value.isoformat()


def at(value: datetime | None) -> str:
    """A time to the minute, in UTC."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
