"""Replicates of a calibration on a Dask cluster (extra `ckin[dask]`).

Without an address the cluster is this machine, a process for every worker: each
compiles for itself and runs on one core. Results come back one by one, in any order, so
what is finished is kept whatever happens to the others.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

from ckin.calibration import replicate
from ckin.errors import InputError
from ckin.runtime import cache_folder, usable_cores


# As `ckin.runtime.prepare` sets them, before a worker imports JAX.
WORKER_ENVIRONMENT = {
    "EQX_ON_ERROR": "nan",
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_COMPILATION_CACHE_DIR": str(cache_folder()),
    "OMP_NUM_THREADS": "1",
}


@contextlib.contextmanager
def dask_runs(
    address: str = "", workers: int | None = None
) -> Iterator[Callable[[dict, Sequence[int]], Iterator[dict]]]:
    """What runs replicates on a cluster, for `ckin.calibration.calibrate`.

    Args:
        address: of the scheduler (tcp://host:8786); empty for this machine.
        workers: processes on this machine; as many as cores unless told.

    Raises:
        InputError: Dask is not installed, or there is nothing at the address.
    """
    try:
        from dask.distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise InputError(
            'a Dask cluster needs the extra: pip install "ckin[dask]"'
        ) from None
    with contextlib.ExitStack() as open_things:
        where = address
        if not address:
            with _deaf_to_interrupts():
                where = open_things.enter_context(
                    LocalCluster(
                        n_workers=workers or usable_cores(),
                        threads_per_worker=1,
                        env=WORKER_ENVIRONMENT,
                        dashboard_address=":0",
                    )
                )
        try:
            client = open_things.enter_context(Client(where))
        except OSError as error:
            raise InputError(
                f"--dask {address}: no scheduler there ({error})"
            ) from None

        def run(told: dict, numbers: Sequence[int]) -> Iterator[dict]:
            futures = [
                client.submit(replicate, told, number, pure=False) for number in numbers
            ]
            for future in as_completed(futures):
                yield future.result()

        try:
            yield run
        except KeyboardInterrupt:
            # What is lost by it is known; Dask would tell it once a task and worker.
            _quiet()
            if not address:
                client.run(_quiet)
            raise


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Have processes that are started meanwhile ignore Ctrl-C.

    It reaches every process of a terminal; whoever started them ends them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _quiet() -> None:
    """Have Dask in this process say nothing but what stops it."""
    for name in ("distributed", *logging.root.manager.loggerDict):
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
