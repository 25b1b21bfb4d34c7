"""People, tokens and the audit log: for admins, shown once, and all of it written down."""

import csv
import io
import re

import pytest
from fastapi import FastAPI

from ledgerlake.people import People
from ledgerlake.store import Store
from tests.console.pages.conftest import Enter

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("role", ["viewer", "support"])
async def test_only_admins_see_them(enter: Enter, role: str) -> None:
    async with enter(role) as client:
        for path in ("/people", "/audit", "/audit.csv"):
            assert (await client.get(path)).status_code == 403
        for path in ("/people/users", "/people/tokens", "/people/users/1/role", "/people/tokens/1/revoke"):
            assert (await client.post(path)).status_code == 403


async def test_somebody_is_added_once_gets_another_role_and_is_shut_out(enter: Enter, people: People) -> None:
    async with enter("admin") as client:
        made = await client.post("/people/users", data={"name": "<i>ana</i>", "role": "viewer"})
        twice = await client.post("/people/users", data={"name": "<i>ana</i>", "role": "viewer"})
        (ana,) = [one for one in people.all() if one.name == "<i>ana</i>"]
        password = re.search(r'class="secret">([^<]+)<', made.text)
        assert password is not None
        assert people.sign_in("<i>ana</i>", password[1]) == ana
        later = (await client.get("/people")).text
        acts = [
            await client.post(f"/people/users/{ana.user_id}/{act}", data=data)
            for act, data in (("role", {"role": "support"}), ("disable", {}), ("disable", {}), ("enable", {}))
        ]
        own = await client.post(f"/people/users/{people.all()[1].user_id}/disable")
        gone = [(await client.post(f"/people/users/{id_}/disable")).status_code for id_ in (0, 999, 2**63)]
        log = list(csv.reader(io.StringIO((await client.get("/audit.csv?target=user+%3Ci%3Eana%3C%2Fi%3E")).text)))

    assert (made.status_code, twice.status_code) == (200, 422)
    assert "<i>ana</i>" not in made.text + later
    assert password[1] not in later, "shown once"
    assert [one.headers["location"] for one in acts] == ["/people"] * 4
    assert people.get(ana.user_id).role == "support"
    assert (own.status_code, "this is the only admin" in own.text) == (422, True)
    assert gone == [404, 404, 404]
    assert [row[1:] for row in log[1:]] == [
        ["a admin", "user enabled", "user <i>ana</i>", "", ""],
        ["a admin", "user disabled", "user <i>ana</i>", "", ""],
        ["a admin", "role changed", "user <i>ana</i>", "viewer", "support"],
        ["a admin", "user added", "user <i>ana</i>", "", "viewer"],
    ]


async def test_a_token_is_shown_once_works_and_is_revoked_at_once(enter: Enter, people: People) -> None:
    form = {"name": "prometheus", "scopes": ["read"], "days": "30"}
    async with enter("admin") as client:
        made = await client.post("/people/tokens", data=form)
        twice = await client.post("/people/tokens", data=form)
        wrong = await client.post("/people/tokens", data=form | {"name": "x", "scopes": ["root"]})
        found = re.search(r"llk_[\w-]+", made.text)
        assert found is not None
        bearer = {"authorization": f"Bearer {found[0]}"}
        client.cookies.clear()
        read = await client.get("/metrics", headers=bearer)
        people.revoke_token("test", people.tokens()[0].token_id)
        refused = await client.get("/metrics", headers=bearer)

    assert (made.status_code, twice.status_code, wrong.status_code) == (200, 422, 422)
    assert len(people.tokens()) == 1
    assert (read.status_code, refused.status_code) == (200, 401)


async def test_the_audit_log_is_filtered(enter: Enter, people: People, store: Store) -> None:
    people.add("=evil()", "ben", "viewer")
    async with enter("admin") as client:
        by_actor = list(csv.reader(io.StringIO((await client.get("/audit.csv?actor=%3Devil()")).text)))
        page = await client.get("/audit?act=ADDED&actor=%3Devil()")
        none = await client.get("/audit?until=2001-01-01")
        wrong = await client.get("/audit?since=yesterday%3Cb%3E")

    assert [row[1:] for row in by_actor[1:]] == [["'=evil()", "user added", "user ben", "", "viewer"]]
    assert page.text.count("user added") == 1
    assert "No act is like that" in none.text
    assert (wrong.status_code, "yesterday" in wrong.text) == (422, False)


async def test_where_an_identity_provider_is_set_nobody_is_added_by_hand(app: FastAPI, enter: Enter) -> None:
    app.state.house.oidc = object()
    async with enter("admin") as client:
        page = (await client.get("/people")).text
        refused = await client.post("/people/users", data={"name": "ana", "role": "admin"})

    assert "Add somebody" not in page
    assert refused.status_code == 422
