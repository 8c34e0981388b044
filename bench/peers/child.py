"""One measure of one peer, in a process of its own: ``python -m bench.peers.child`` reads what to do as JSON.

``{"peer": …, "dsn": …, "settings": {…}, "connections": …, "calls": [[method, {arguments}], …]}``; prints what
each call returned and the processor seconds that it took here, as JSON.
"""

import gc
import importlib
import json
import logging
import sys
import time
from typing import Any

MODULES = {"PgQueuer": "bench.peers.with_pgqueuer", "Procrastinate": "bench.peers.with_procrastinate"}


async def work(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the calls in their order."""
    module = importlib.import_module(MODULES[wanted["peer"]])
    peer = module.Peer(module.Settings(**wanted["settings"]))
    await peer.open(wanted["dsn"], connections=wanted.get("connections", 4))
    gc.collect()
    gc.freeze()
    done = []
    for name, arguments in wanted["calls"]:
        before = time.process_time()
        returned = await getattr(peer, name)(**arguments)
        done.append({"returned": returned, "cpu": time.process_time() - before, "version": module.VERSION})
    await peer.close()
    return done


def main() -> None:
    """Read, work, print."""
    import uvloop

    logging.basicConfig(level=logging.WARNING)
    print(json.dumps(uvloop.run(work(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
