"""How a caller is named: by public ids to people, and unchanged where names are stored."""

from uuid import UUID

import pytest

from aifactory.kernel.ids import ClientId, UserId, text_id
from aifactory.kernel.principal import Principal, Role

CLIENT, USER = UUID("01890a5d-ac96-774b-bcce-b302099a8057"), UUID("01890a5d-ac96-774b-bcce-b302099a8058")
KEY = Principal(role=Role.CLIENT, client_id=ClientId(CLIENT))
MEMBER = Principal(role=Role.CLIENT, client_id=ClientId(CLIENT), user_id=UserId(USER))
ADMIN = Principal(role=Role.ADMIN, user_id=UserId(USER))


@pytest.mark.parametrize(
    ("caller", "label", "stored"),
    [
        (KEY, text_id("client", CLIENT), f"client:{CLIENT}"),
        (MEMBER, text_id("user", USER), f"user:{USER}"),
        (ADMIN, text_id("user", USER), f"user:{USER}"),
        (Principal(role=Role.WORKER, worker="w"), "worker:w", "worker:w"),
        (Principal(role=Role.MONITOR), "monitor", "monitor"),
    ],
)
def test_people_see_public_ids_and_what_is_stored_keeps_its_first_form(
    caller: Principal, label: str, stored: str
) -> None:
    assert (caller.label, caller.stored_name) == (label, stored)
