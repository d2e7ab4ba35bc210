"""Work on several machines, by Dask: `--image --cluster ADDRESS`."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

from data.system.files import HERE, InputError, one_line

ANSWER = 30  # seconds that a scheduler and its first worker have to answer


class Cluster:
    """The workers of a Dask scheduler, as `results.batch.processes.Workers`.

    Dask itself gives the work of a worker that died to others. A task that has killed several
    raises KilledWorker.
    """

    def __init__(self, address: str) -> None:
        """Raises InputError if Dask is missing, if there is no scheduler or worker at the address,
        or if its workers cannot import this project."""
        try:
            distributed = importlib.import_module("distributed")
        except ImportError:
            raise InputError(
                "--cluster needs Dask, here and on all workers: pip install 'dask[distributed]'"
            ) from None
        self.crashes: tuple[type[BaseException], ...] = (distributed.KilledWorker,)
        try:
            self._client = distributed.Client(address, timeout=ANSWER)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"no Dask scheduler answers at {address} ({one_line(error)}); start one by: dask"
                " scheduler"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=ANSWER)
            self._client.submit(importable, pure=False).result()
        except TimeoutError:
            self.stop()
            raise InputError(
                f"the Dask scheduler at {address} has no workers; start some by: PYTHONPATH={HERE}"
                f" dask worker {address} --nthreads 1"
            ) from None
        except Exception as error:  # whatever the workers raise
            self.stop()
            raise InputError(
                f"the Dask workers at {address} cannot import this project ({one_line(error)});"
                f" start them with PYTHONPATH={HERE}"
            ) from None
        self._counted, self._count = -1.0, 0

    @property
    def count(self) -> int:
        """How many tasks the workers run at once; they may come and go."""
        if time.monotonic() > self._counted + 5:
            self._count = sum(self._client.nthreads().values()) or self._count or 1
            self._counted = time.monotonic()
        return self._count

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """As of `Workers`."""
        return self._client.submit(function, item, pure=False)

    def restart(self) -> None:
        """Dask replaces those that died itself."""

    def stop(self) -> None:
        """Give up what they still work on, and leave them to others."""
        self._client.close(timeout=2)


def importable() -> bool:
    """For a worker to call, which it can only if it can import this project."""
    return True
