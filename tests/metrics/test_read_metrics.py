"""What monitoring reads: right figures, for those who may see them, and nothing of anybody in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from denizen.app import install
from denizen.core.accounts import Accounts
from denizen.core.auth import Scope
from denizen.core.hashers import NullHasher
from denizen.core.hashing import Lane
from denizen.housekeeping.service import clean_all
from denizen.metrics.service import SECONDS
from denizen.settings import Settings
from tests.conftest import BASE_URL, MakeKey, MakeUser

ROOT = Path(__file__).parents[2]


async def figures(client: AsyncClient, path: str = "/metrics") -> dict[tuple[str, str], float]:
    """Read all figures: by name, and labels in the order of their names."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_only_who_may_reads_them(client: AsyncClient, make_key: MakeKey) -> None:
    assert (await client.get("/metrics")).json()["code"] == "credentials_missing"
    other = await make_key(*(set(Scope) - {Scope.METRICS_READ}))
    assert (await client.get("/metrics", headers=other)).json()["code"] == "scope_missing"
    assert (await client.get("/metrics", headers=await make_key(Scope.METRICS_READ))).status_code == 200


async def test_requests_are_counted_by_template_method_and_class(admin: AsyncClient, make_user: MakeUser) -> None:
    user = await make_user()
    for _ in range(3):
        await admin.get(f"/users/{user['id']}")
    await admin.get("/users/019a5c1e-7f00-7a11-8b22-3c33d44e55f6")
    await admin.head("/users")
    await admin.get("/nothing/here/019a5c1e")
    await admin.request("BREW", "/users/")

    found = await figures(admin)

    name = "denizen_request_seconds_count"
    assert found[name, "method=GET,route=/users/{user_id},status=2xx"] == 3
    assert found[name, "method=GET,route=/users/{user_id},status=4xx"] == 1
    assert found[name, "method=HEAD,route=/users,status=2xx"] == 1
    assert found[name, "method=POST,route=/users,status=2xx"] == 1
    assert found[name, "method=GET,route=other,status=4xx"] == 1
    assert found[name, "method=other,route=/users,status=4xx"] == 1
    assert not any("019a5c1e" in labels or user["id"] in labels for _, labels in found)


async def test_times_are_in_their_buckets(admin: AsyncClient) -> None:
    for _ in range(5):
        await admin.get("/healthz")

    found = await figures(admin)

    labels = "method=GET,route=/healthz,status=2xx"
    buckets = [found["denizen_request_seconds_bucket", f"le={bound},{labels}"] for bound in SECONDS]
    assert buckets == sorted(buckets)
    assert found["denizen_request_seconds_bucket", f"le=+Inf,{labels}"] == 5
    assert 0 < found["denizen_request_seconds_sum", labels] < 5
    assert (await figures(admin))["denizen_request_seconds_count", labels] == 5  # reading counts nothing twice


async def test_statements_hashes_and_queues(admin: AsyncClient, accounts: Accounts, make_user: MakeUser) -> None:
    before = await figures(admin)
    await make_user()
    await accounts.hashing.hash("correct horse", lane=Lane.TRUSTED)

    after = await figures(admin)

    assert after["denizen_statements_total", ""] - before["denizen_statements_total", ""] >= 3
    assert after["denizen_hash_seconds_count", ""] - before["denizen_hash_seconds_count", ""] == 2
    assert after["denizen_hashes_waiting", ""] == 0
    assert after["denizen_database_connections", "use=write"] == 0
    async with accounts.writing() as db:
        await db.connection()
        assert (await figures(admin))["denizen_database_connections", "use=write"] == 1


async def test_sign_ins_refusals_and_deletions(admin: AsyncClient, accounts: Accounts) -> None:
    accounts.count("sign_ins", "succeeded")
    accounts.count("mails", "sent", 2)
    accounts.count("nothing that is known", "x")
    await admin.get("/users/7")
    await clean_all(accounts)

    found = await figures(admin)

    assert found["denizen_sign_ins_total", "outcome=succeeded"] == 1
    assert found["denizen_mails_total", "outcome=sent"] == 2
    assert found["denizen_refusals_total", "code=user_not_found"] == 1


async def test_two_installs_keep_figures_of_their_own(settings: Settings) -> None:
    first, second = (install(FastAPI(), settings=settings, hasher=NullHasher()) for _ in range(2))
    try:
        first.count("mails", "sent", 7)
        assert b"7.0" in await first.figures.expose()
        assert b"7.0" not in await second.figures.expose()
    finally:
        await first.close()
        await second.close()


async def test_a_host_has_every_figure_but_its_requests(settings: Settings, make_key: MakeKey) -> None:
    app = FastAPI()
    accounts = install(app, prefix="/accounts", settings=settings, hasher=NullHasher())
    key = await make_key(Scope.METRICS_READ)
    async with AsyncClient(transport=ASGITransport(app), base_url=BASE_URL, headers=key) as client:
        found = await figures(client, "/accounts/metrics")
    await accounts.close()

    assert found["denizen_statements_total", ""] > 0
    assert not any(name.startswith("denizen_request_seconds") for name, _ in found)


def test_the_documentation_lists_every_figure(settings: Settings) -> None:
    accounts = install(FastAPI(), settings=settings, hasher=NullHasher())
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(denizen_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}

    def described(metric: Any) -> tuple[str, tuple[str, Any]]:
        ends = "_total" if metric._type == "counter" else ""
        return metric._name + ends, (metric._type, tuple(metric._labelnames))

    assert documented == dict(described(metric) for metric in accounts.figures.registry._collector_to_names)
    assert text.count("DENIZEN_METRICS_PORT")
