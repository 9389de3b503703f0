"""Work that ends with its client: batches are kept whole or not at all, and nothing is left of who hung up."""

from __future__ import annotations

import asyncio

from backend_client import register_in, rest
from wire_acts import hang_up, thread_of

from netra_probe.lab import Lab


async def test_a_batch_is_kept_in_its_order(lab: Lab) -> None:
    async with rest(lab, await register_in(lab)) as client:
        records = [{"service": f"service-{number}", "amount_usd": "1.50", "note": "n"} for number in range(5)]
        answer = await client.post("/api/spend/batch", json={"records": records})
        assert [record["service"] for record in answer.json()["records"]] == [one["service"] for one in records]
        kept = (await client.get("/api/spend")).json()["records"][-5:]
        assert kept == answer.json()["records"]


async def test_a_batch_with_a_wrong_record_is_refused_whole(lab: Lab) -> None:
    async with rest(lab, await register_in(lab)) as client:
        for wrong in ({"service": "late", "amount_usd": "-1"}, {"service": "nul\0", "amount_usd": "1"}):
            records = [{"service": "first", "amount_usd": "1"}, wrong]
            assert (await client.post("/api/spend/batch", json={"records": records})).status_code == 422
        assert "first" not in (await client.get("/api/spend")).text
        assert (await client.post("/api/spend/batch", json={"records": []})).status_code == 422


async def test_clients_that_hang_up_leave_nothing_in_use(lab: Lab) -> None:
    alice = await register_in(lab)
    await thread_of(lab, alice, "words")
    batch = {"records": [{"service": "batch", "amount_usd": "1"} for _ in range(20)]}
    reads = [("GET", path, None) for path in ("/api/threads", "/api/search?q=words", "/api/users/me")]
    for moment in (0.002, 0.005, 0.01, 0.02):
        acts = [*reads * 4, *[("POST", "/api/spend/batch", batch)] * 2]
        await asyncio.gather(*(hang_up(lab, alice, *act, after=moment) for act in acts))
    async with rest(lab, alice) as client:
        assert len((await client.get("/api/threads")).json()) == 1
        assert (await client.get("/api/spend")).text.count('"batch"') % 20 == 0, "a part of a batch was kept"

    def in_use() -> int:
        pool: dict[str, int] = lab.status()["services"]["backend-1"]["pool"]
        return pool["in_use"]

    assert any(in_use() == 0 for _ in range(20)), "a connection was not given back"
