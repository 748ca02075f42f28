"""How late the event loop is while logins are offered: python bench/login_lag.py

For five seconds, 50 logins a second are offered to one replica's `Passwords`; a task that only
sleeps for a millisecond at a time says how much later than that it was woken up. The same is
measured before without logins, as the machine's own lag.
"""

import argparse
import asyncio
import time

from gateway.core.passwords import Passwords
from gateway.domain.errors import LimitReached

_TICK_SECONDS = 0.001


async def lag_during(work: asyncio.Task[None]) -> list[float]:
    """Milliseconds by which each tick was late until the work was done, shortest first."""
    late: list[float] = []
    while not work.done():
        due = time.perf_counter() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        late.append((time.perf_counter() - due) * 1000)
    await work
    return sorted(late)


async def offer(passwords: Passwords, logins_per_second: int, seconds: float) -> None:
    """Start a login at each moment that is due, whether or not earlier ones have ended."""
    stored = await passwords.hash("right")
    took: list[float] = []
    refused = 0

    async def log_in() -> None:
        nonlocal refused
        start = time.perf_counter()
        try:
            await passwords.verify("wrong", stored)
        except LimitReached:
            refused += 1
        else:
            took.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as group:
        start = time.perf_counter()
        for n in range(int(logins_per_second * seconds)):
            await asyncio.sleep(max(start + n / logins_per_second - time.perf_counter(), 0))
            group.create_task(log_in())
    elapsed = time.perf_counter() - start
    took.sort()
    print(
        f"{len(took)} logins in {elapsed:.1f} s ({len(took) / elapsed:.0f}/s), {refused} refused; "
        f"a login took {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s (longest)"
    )


def show(name: str, late: list[float]) -> None:
    p99 = late[len(late) * 99 // 100]
    print(f"{name}: loop lag p99 {p99:.1f} ms, longest {late[-1]:.1f} ms ({len(late)} ticks)")


async def measure(threads: int, logins_per_second: int, seconds: float) -> None:
    async with asyncio.TaskGroup() as group:
        show("idle", await lag_during(group.create_task(asyncio.sleep(seconds))))
        with Passwords(threads=threads) as passwords:
            work = group.create_task(offer(passwords, logins_per_second, seconds))
            show(f"{logins_per_second} logins/s, threads={threads}", await lag_during(work))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--logins-per-second", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    asyncio.run(measure(given.threads, given.logins_per_second, given.seconds))
