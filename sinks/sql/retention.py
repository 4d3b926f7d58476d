"""Removing what is older than `keep`, a little at a time."""

import time

from heliobus.database import sa
from sinks.sql.tables import DEVICES, Tables

# Per table and device: some milliseconds also on an SD card, so nobody waits for it.
ROWS_AT_ONCE = 500
# And so long for all of them: a write waits for this.
_MOST_S = 1.0


def prune_some(connection: sa.Connection, tables: Tables, before_ms: int) -> bool:
    """Remove some of the rows older than `before_ms`; tell whether more may be left."""
    more = False
    end_s = time.monotonic() + _MOST_S
    device_ids = connection.scalars(sa.select(DEVICES.c.id)).all()
    for kind_table in tables.kinds.values():
        for device_id in device_ids:
            if time.monotonic() > end_s:
                return True
            more |= _prune_device(connection, kind_table.table, device_id, before_ms)
    return more


def _prune_device(
    connection: sa.Connection, table: sa.Table, device_id: int, before_ms: int
) -> bool:
    mine = table.c.device_id == device_id
    oldest = (
        sa.select(table.c.time)
        .where(mine, table.c.time < before_ms)
        .order_by(table.c.time)
        .limit(ROWS_AT_ONCE)
    )
    times = connection.scalars(oldest).all()
    if times:
        connection.execute(table.delete().where(mine, table.c.time <= times[-1]))
    return len(times) == ROWS_AT_ONCE
