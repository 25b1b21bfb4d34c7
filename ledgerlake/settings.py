"""Settings: environment variables or ``.env``, read once. Nothing else reads the environment.

Every field is one variable of the table in docs/reference/settings.md, which is generated from here.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ledgerlake.errors import UsageError

COUNTRIES = r"^[A-Z]{2}(,[A-Z]{2})*$"
"""Countries by their ISO codes, comma separated."""


class Settings(BaseSettings):
    """All that an operator can set. Read it with `load`, which turns a wrong value into one sentence."""

    model_config = SettingsConfigDict(
        env_prefix="LEDGERLAKE_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(
        Path(".ledgerlake"), description="Where local state lives: embedded servers, keys, scratch files."
    )
    postgres_url: SecretStr | None = Field(None, description="PostgreSQL 15 or newer; the embedded one when unset.")
    s3_url: str | None = Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$",
        description="`s3://bucket/prefix` where the lake's files go; the embedded SeaweedFS when unset.",
    )
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Fernet keys, comma separated: the first encrypts, all decrypt. "
        "Generated once into LEDGERLAKE_HOME (mode 0600) when unset, for embedded use only.",
    )
    buckets: int = Field(8, ge=1, le=256, description="Number of buckets of customers, fixed when the store is made.")
    sync_concurrency: int = Field(8, ge=1, le=64, description="How many connections are synced at once.")
    memory_limit: str = Field(
        "1GB",
        pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$",
        description="What a build may hold in memory before it spills to disk.",
    )
    threads: int | None = Field(
        None, ge=1, description="On how many threads DuckDB builds, compares and answers; one a core when unset."
    )
    snapshot_days: int = Field(
        7, ge=1, description="How many days a published snapshot can be read and rolled back to."
    )
    event_days: int = Field(
        30, ge=1, description="How many days Dagster's event log, finished runs and webhook events are kept."
    )
    console_port: int | None = Field(
        None, ge=1, le=65535, description="The console's port on loopback; 3100, or the next that is free, when unset."
    )
    census_requests: int = Field(
        20,
        ge=0,
        description="How many requests a day the census may make for one connection, to count again at the source; "
        "0 switches it off, which is a finding.",
    )
    census_days: int = Field(
        30, ge=1, description="In how many days the census has counted all of a connection's history once."
    )
    console_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]+$",
        description="The console's address as browsers see it; with https its cookies are secure. Loopback and its port when unset.",
    )
    metrics_public: bool = Field(
        False,
        description="Whether /metrics of the console answers everybody; else it takes an API token of the scope read.",
    )
    connect_name: str = Field(
        "Ledgerlake",
        min_length=1,
        max_length=30,
        description="Your company's name as customers read it where they connect an account; at most 30 characters.",
    )
    oidc_issuer: str | None = Field(
        None,
        pattern=r"^https?://",
        description="OpenID Connect: the identity provider's issuer. Unset, operators sign in by name and password.",
    )
    oidc_client_id: str | None = Field(None, description="OpenID Connect: the console's client id.")
    oidc_client_secret: SecretStr | None = Field(None, description="OpenID Connect: the console's client secret.")
    oidc_scope: str = Field("openid profile email", description="OpenID Connect: the scopes that are asked for.")
    oidc_groups_claim: str = Field("groups", description="OpenID Connect: the claim that lists somebody's groups.")
    oidc_admin_groups: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="OpenID Connect: groups whose members are admins, comma separated."
    )
    oidc_support_groups: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="OpenID Connect: groups whose members are support, comma separated."
    )
    oidc_viewer_groups: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="OpenID Connect: groups whose members are viewers; everybody who signs in when unset."
    )
    verify_hours: int = Field(
        36, ge=1, description="How many hours may pass without a whole verification before that is a finding."
    )
    silent_days: int = Field(
        3, ge=1, description="How many days no sync of a connection may come to its end before that is a finding."
    )
    publish_hours: int = Field(
        24, ge=1, description="How many hours a record may wait from the store into the lake before that is a finding."
    )
    sustain_hours: int = Field(
        24, ge=0, description="A finding that comes back within so many hours of its closing is not announced again."
    )
    severe_amount: Decimal = Field(
        Decimal(10_000),
        gt=0,
        description="Money at risk, in any one currency, from which a finding is one degree more severe.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="What is logged on stderr.")

    teller_enabled: bool = Field(
        True,
        description="Teller: whether its connections are called; `ledgerlake pause --provider teller` also stops running syncs.",
    )
    teller_url: str = Field("https://api.teller.io", pattern=r"^https?://", description="Teller's base URL.")
    teller_certificate: Path | None = Field(
        None, description="Teller: the application's client certificate, a PEM file."
    )
    teller_private_key: Path | None = Field(None, description="Teller: the certificate's private key, a PEM file.")
    teller_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Teller: the signing secrets of webhooks, comma separated; without one its deliveries are refused.",
    )
    teller_application_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Teller: the application's id; with it customers connect by link.",
    )
    teller_environment: Literal["sandbox", "development", "production"] = Field(
        "production", description="Teller: the environment in which customers enroll."
    )
    teller_token_signing_key: str | None = Field(
        None,
        description="Teller: the application's token signing key (a public key, base64), which proves enrollments; "
        "without it customers cannot connect by link.",
    )
    teller_connect_script: str = Field(
        "https://cdn.teller.io/connect/connect.js",
        pattern=r"^https?://",
        description="Teller: the script of Teller Connect.",
    )
    teller_requests_per_second: float = Field(
        100, gt=0, description="Teller: the application's budget of requests, over all connections."
    )
    plaid_enabled: bool = Field(
        True,
        description="Plaid: whether its connections are called; `ledgerlake pause --provider plaid` also stops running syncs.",
    )
    plaid_url: str = Field("https://production.plaid.com", pattern=r"^https?://", description="Plaid's base URL.")
    plaid_client_id: SecretStr | None = Field(None, description="Plaid: the application's client id.")
    plaid_secret: SecretStr | None = Field(None, description="Plaid: the application's secret of that environment.")
    plaid_link_script: str = Field(
        "https://cdn.plaid.com/link/v2/stable/link-initialize.js",
        pattern=r"^https?://",
        description="Plaid: the script of Plaid Link.",
    )
    plaid_countries: str = Field(
        "US,CA", pattern=COUNTRIES, description="Plaid: the countries whose banks customers find, comma separated."
    )
    plaid_requests_per_second: float = Field(
        40, gt=0, description="Plaid: the application's budget of requests, over all connections."
    )

    tink_enabled: bool = Field(
        True,
        description="Tink: whether its connections are called; `ledgerlake pause --provider tink` also stops running syncs.",
    )
    tink_url: str = Field("https://api.tink.com", pattern=r"^https?://", description="Tink's base URL.")
    tink_client_id: SecretStr | None = Field(None, description="Tink: the application's client id.")
    tink_client_secret: SecretStr | None = Field(None, description="Tink: the application's client secret.")
    tink_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Tink: the secrets of its webhook endpoints, comma separated; without one its deliveries are refused.",
    )
    tink_link_url: str = Field("https://link.tink.com", pattern=r"^https?://", description="Tink: where Tink Link is.")
    tink_markets: str = Field(
        "GB,DE,FR,ES,IT,NL,SE,FI,DK,NO,PT,AT,BE,IE,PL",
        pattern=COUNTRIES,
        description="Tink: the markets that customers choose from, comma separated.",
    )
    tink_requests_per_second: float = Field(
        20, gt=0, description="Tink: the application's budget of requests, over all connections."
    )
    gocardless_enabled: bool = Field(
        True,
        description="GoCardless: whether its connections are called; `ledgerlake pause --provider gocardless` also stops running syncs.",
    )
    gocardless_url: str = Field(
        "https://bankaccountdata.gocardless.com/api/v2",
        pattern=r"^https?://",
        description="GoCardless' base URL, of Bank Account Data.",
    )
    gocardless_secret_id: SecretStr | None = Field(
        None, description="GoCardless: the id of the application's user secret."
    )
    gocardless_secret_key: SecretStr | None = Field(
        None, description="GoCardless: the key of the application's user secret."
    )
    gocardless_countries: str = Field(
        "GB,DE,FR,ES,IT,NL,SE,FI,DK,NO,PT,AT,BE,IE,PL",
        pattern=COUNTRIES,
        description="GoCardless: the countries whose banks customers choose from, comma separated.",
    )
    gocardless_requests_per_second: float = Field(
        5, gt=0, description="GoCardless: the application's budget of requests, over all connections."
    )

    stripe_enabled: bool = Field(
        True,
        description="Stripe: whether its connections are called; `ledgerlake pause --provider stripe` also stops running syncs.",
    )
    stripe_url: str = Field("https://api.stripe.com", pattern=r"^https?://", description="Stripe's base URL.")
    stripe_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Stripe: the signing secrets of its webhook endpoints, comma separated; without one its deliveries are refused.",
    )
    stripe_connect_url: str = Field(
        "https://connect.stripe.com", pattern=r"^https?://", description="Stripe: where Stripe Connect's OAuth is."
    )
    stripe_client_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Stripe: the platform's client id, `ca_…`; unset, customers connect by a restricted key of theirs only.",
    )
    stripe_secret_key: SecretStr | None = Field(
        None, description="Stripe: the platform's secret key, with which accounts that came by Stripe Connect are read."
    )
    stripe_requests_per_second: float = Field(
        100, gt=0, description="Stripe: the budget of requests, over all connections."
    )

    aws_endpoint_url_s3: str | None = Field(
        None, validation_alias="AWS_ENDPOINT_URL_S3", description="S3 endpoint where it is not AWS's own."
    )
    aws_access_key_id: SecretStr | None = Field(
        None, validation_alias="AWS_ACCESS_KEY_ID", description="S3 access key."
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, validation_alias="AWS_SECRET_ACCESS_KEY", description="S3 secret key."
    )
    aws_region: str = Field("us-east-1", validation_alias="AWS_REGION", description="S3 region.")

    @field_validator(
        *("secret_keys", "teller_webhook_secrets", "tink_webhook_secrets", "stripe_webhook_secrets"),
        *("oidc_admin_groups", "oidc_support_groups", "oidc_viewer_groups"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    def enabled(self, provider: str) -> bool:
        """Whether the settings let that provider be called."""
        return bool(getattr(self, f"{provider}_enabled"))

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def load() -> Settings:
    """The settings of this process.

    Raises:
        UsageError: a variable has a value it cannot have; the sentence names the variable, never the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{variable(str(e['loc'][0]))}: {e['msg']}" for e in error.errors(include_input=False))
        raise UsageError(f"settings: {wrong}. See docs/reference/settings.md.") from None


def variable(field: str) -> str:
    """The environment variable of a field: ``teller_url`` -> ``LEDGERLAKE_TELLER_URL``."""
    info = Settings.model_fields.get(field)
    alias = info.validation_alias if info is not None else None
    return alias if isinstance(alias, str) else (field if field.isupper() else f"LEDGERLAKE_{field.upper()}")
