"""The first start: an admin and a demo client, whose secrets are returned this once."""

import msgspec

from aifactory.accounts import clients, queries, user_queries
from aifactory.accounts.audit_rows import record_row
from aifactory.accounts.models import UserRow
from aifactory.accounts.passwords import hash_password, make_password
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, new_id
from aifactory.kernel.principal import Role
from aifactory.resources.interface import Resources, Tier

ADMIN_LOGIN = "admin"


class FirstSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What to show once on the first start; stored only as hashes."""

    login: str
    password: str
    client_id: ClientId
    client_name: str
    api_key: str


async def seed_first_start(database: Database, *, resources: Resources) -> FirstSecrets | None:
    """Make the admin and the demo client unless there is a user; safe when several processes start.

    Opens its own transactions, because hashing a password must not happen inside one.
    """
    async with database.begin() as tx:
        if await user_queries.has_users(tx):
            return None
    password = make_password()
    password_hash = await hash_password(password)
    async with database.begin() as tx:
        await queries.lock_first_start(tx)
        if await user_queries.has_users(tx):
            return None
        admin = UserRow(
            id=new_id(),
            login=ADMIN_LOGIN,
            password_hash=password_hash,
            role=Role.ADMIN.value,
            active=True,
            created_at=tx.now,
        )
        tx.session.add(admin)
        shown = {"login": admin.login, "role": admin.role, "client": None, "active": True}
        await record_row(tx, "system", "user.created", admin, after=shown)
        new = clients.NewClient(name="Demo", contact="", tier=Tier.PREMIUM)
        row, _ = await clients.create_client(tx, resources=resources, new=new, actor="system")
        client_id = ClientId(row.id)
        key = await clients.seed_key(tx, client_id=client_id, name="first key")
    return FirstSecrets(
        login=ADMIN_LOGIN,
        password=password,
        client_id=client_id,
        client_name=row.name,
        api_key=key.text,
    )
