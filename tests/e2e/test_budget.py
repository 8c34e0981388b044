"""A client's monthly budget under forty requests at once: as many as fit, not one more."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
from tests.e2e.running import Server, assert_books_balance, database_of, finished, new_client, order

AT_ONCE, FITTING = 40, 7


async def submit_at_once(url: str, key: str, body: dict[str, Any], times: int) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=times)
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=120, limits=limits, trust_env=False
    ) as caller:
        return await asyncio.gather(*(caller.post("/requests", json=body) for _ in range(times)))


def test_a_budget_for_seven_takes_seven_of_forty(server: Server, secrets: dict[str, str]) -> None:
    with server.as_admin(secrets) as admin, server.with_key(secrets["key"]) as demo:
        quote = demo.post("/requests?dryRun=true", json=order())
        worst = json.loads(quote.text, parse_float=Decimal)["worstCostUsd"]
        budget = worst * (FITTING + 1) - Decimal("0.000000001")
        _, key = new_client(admin, "Thrifty", monthly_budget_usd=float(budget))
        admin.post("/admin/scheduler/stop").raise_for_status()  # or work that ends makes room for more
        try:
            answers = asyncio.run(submit_at_once(server.url, key, order(), AT_ONCE))
            with database_of(server.data_dir) as fetch:
                budgets = """SELECT held_nano, spent_nano, unfinished FROM budgets b JOIN clients c
                    ON c.id = b.client_id WHERE c.name = 'Thrifty'"""
                held = fetch(budgets)[0]
        finally:
            admin.post("/admin/scheduler/start").raise_for_status()

        assert Counter(answer.status_code for answer in answers) == {202: FITTING, 402: AT_ONCE - FITTING}
        codes = {answer.json()["code"] for answer in answers if answer.status_code == 402}
        assert codes == {"budget_in_use"}
        assert held["held_nano"] == FITTING * int(worst * 10**9)
        assert (held["spent_nano"], held["unfinished"]) == (0, FITTING)
        with server.with_key(key) as thrifty:
            accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
            assert {finished(thrifty, request_id)["state"] for request_id in accepted} == {"succeeded"}
            assert len(thrifty.get("/requests?limit=100").json()["data"]) == FITTING
            spent = sum(
                json.loads(thrifty.get(f"/api/cost/{request_id}").text, parse_float=Decimal)["costUsd"]
                for request_id in accepted
            )
        with database_of(server.data_dir) as fetch:
            left = fetch(budgets)[0]
        assert (left["held_nano"], left["unfinished"]) == (0, 0)
        assert 0 < left["spent_nano"] == spent * 10**9
        assert_books_balance(server.data_dir)
