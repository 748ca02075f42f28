"""Short tasks: who looks after them, and how they end."""

import asyncio
import gc
import logging

import pytest

from gateway.core.tasks import Tasks


async def test_what_is_started_runs() -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    async with Tasks() as tasks:
        await tasks.start(work(), "work")
    assert done.is_set()


async def test_a_task_has_the_name_it_was_given() -> None:
    async def work() -> None:
        assert asyncio.current_task() is task

    async with Tasks() as tasks:
        task = tasks.start(work(), "receive")
        assert task.get_name() == "receive"
        await task


async def test_a_failing_task_is_logged_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()
    finished = []

    async def fail() -> None:
        raise RuntimeError("broken")

    async def work() -> None:
        await release.wait()
        finished.append(1)

    async with Tasks() as tasks:
        other = tasks.start(work(), "work")
        with caplog.at_level(logging.ERROR):
            await tasks.start(fail(), "fail")
        release.set()
        await other
    assert finished == [1]
    assert [record.message for record in caplog.records] == ["a task failed"]
    assert caplog.records[0].exc_info is not None


async def test_leaving_the_block_ends_what_is_left_and_waits_for_it() -> None:
    started, cleaned_up = asyncio.Event(), []

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(1)

    async with Tasks() as tasks:
        task = tasks.start(work(), "work")
        await started.wait()
    assert task.cancelled()
    assert cleaned_up == [1]


async def test_what_is_started_while_the_block_is_left_ends_with_it() -> None:
    started, late = asyncio.Event(), []

    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        try:
            started.set()
            await wait_for_ever()
        finally:
            await asyncio.sleep(0)  # by now everything that ran has been cancelled
            late.append(tasks.start(wait_for_ever(), "late"))

    async with asyncio.timeout(5), Tasks() as tasks:
        tasks.start(work(), "work")
        await started.wait()
    assert [task.cancelled() for task in late] == [True]


async def test_an_error_in_the_block_ends_the_tasks_too() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    async def block() -> None:
        async with Tasks() as tasks:
            started.append(tasks.start(work(), "work"))
            raise RuntimeError("the block failed")

    started: list[asyncio.Task[None]] = []
    with pytest.raises(ExceptionGroup) as failure:
        await block()
    assert failure.group_contains(RuntimeError, match="the block failed")
    assert started[0].cancelled()


async def test_a_task_may_be_cancelled_by_whoever_started_it() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with Tasks() as tasks:
        task = tasks.start(work(), "work")
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_task_that_is_cancelled_before_its_first_step_leaves_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def work() -> None:
        pytest.fail("it should not have started")

    async with Tasks() as tasks:
        tasks.start(work(), "work").cancel()
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


async def test_a_finished_task_is_forgotten() -> None:
    async def work() -> None:
        pass

    async with Tasks() as tasks:
        for _ in range(10):
            await tasks.start(work(), "work")
        await asyncio.sleep(0)  # lets the callbacks of the last one run
        assert tasks._running == set()


async def test_what_runs_may_come_to_its_end_before_the_block_is_left() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(1)

    async with Tasks() as tasks:
        await tasks.finish(0)  # with nothing to wait for
        tasks.start(work(), "work")
        await tasks.finish(5)
    assert done == [1]


async def test_what_never_ends_is_not_waited_for_for_ever() -> None:
    async with asyncio.timeout(5), Tasks() as tasks:
        task = tasks.start(asyncio.Event().wait(), "wait")  # type: ignore[arg-type]
        await tasks.finish(0.01)
        assert not task.done()
    assert task.cancelled()
