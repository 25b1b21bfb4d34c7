"""Settings: environment variables or ``.env``, read once. Nothing else reads the environment.

Every field is one variable of the table in docs/reference/settings.md, which is generated from here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ledgerlake.errors import UsageError


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
    snapshot_days: int = Field(
        7, ge=1, description="How many days a published snapshot can be read and rolled back to."
    )
    event_days: int = Field(30, ge=1, description="How many days Dagster's event log and finished runs are kept.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="What is logged on stderr.")

    teller_url: str = Field("https://api.teller.io", pattern=r"^https?://", description="Teller's base URL.")
    teller_certificate: Path | None = Field(
        None, description="Teller: the application's client certificate, a PEM file."
    )
    teller_private_key: Path | None = Field(None, description="Teller: the certificate's private key, a PEM file.")
    teller_requests_per_second: float = Field(
        100, gt=0, description="Teller: the application's budget of requests, over all connections."
    )
    plaid_url: str = Field("https://production.plaid.com", pattern=r"^https?://", description="Plaid's base URL.")
    plaid_client_id: SecretStr | None = Field(None, description="Plaid: the application's client id.")
    plaid_secret: SecretStr | None = Field(None, description="Plaid: the application's secret of that environment.")
    plaid_requests_per_second: float = Field(
        40, gt=0, description="Plaid: the application's budget of requests, over all connections."
    )

    tink_url: str = Field("https://api.tink.com", pattern=r"^https?://", description="Tink's base URL.")
    tink_client_id: SecretStr | None = Field(None, description="Tink: the application's client id.")
    tink_client_secret: SecretStr | None = Field(None, description="Tink: the application's client secret.")
    tink_requests_per_second: float = Field(
        20, gt=0, description="Tink: the application's budget of requests, over all connections."
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
    gocardless_requests_per_second: float = Field(
        5, gt=0, description="GoCardless: the application's budget of requests, over all connections."
    )

    stripe_url: str = Field("https://api.stripe.com", pattern=r"^https?://", description="Stripe's base URL.")
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

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

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
