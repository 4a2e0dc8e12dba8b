"""The async face: the same methods, and what an event loop may do to them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import quire
from quire import AsyncChannelManager, ChannelManager, LocalStore
from quire.core.views import Event
from quire.errors import NotFoundError, UsageError
from tests import vaults

LIMIT_S = 30  # far beyond what anything here takes
STREAMS = {
    "get_stored_messages": ("Iterator[Message]", "AsyncIterator[Message]"),
    "follow": ("Iterator[Message]", "AsyncIterator[Message]"),
    "events": ("Iterator[Iterator[Event]]", "AsyncIterator[AsyncIterator[Event]]"),
}


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, LIMIT_S))


def public(of: type) -> dict[str, Callable[..., Any]]:
    found = ((name, getattr(of, name)) for name in dir(of) if not name.startswith("_"))
    return {name: value for name, value in found if callable(value)}


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("quire")}


def test_both_faces_have_the_same_methods() -> None:
    plain, awaited = public(ChannelManager), public(AsyncChannelManager)
    assert len(plain) > 30
    assert set(plain) == set(awaited) - {"aclose"}
    for name, method in plain.items():
        ours, theirs = inspect.signature(awaited[name]), inspect.signature(method)
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name
        expected = STREAMS.get(name, (theirs.return_annotation,) * 2)
        assert (theirs.return_annotation, ours.return_annotation) == expected, name
        if name not in STREAMS:
            assert inspect.iscoroutinefunction(awaited[name]), name


def test_every_method_calls_its_namesake(store: LocalStore) -> None:
    """With its arguments where they belong: each parameter gets a value of its own."""

    class Recorder(ChannelManager):
        def __getattribute__(self, name: str) -> Any:
            if name not in public(ChannelManager):
                return super().__getattribute__(name)
            return lambda *args, **kwargs: calls.append((name, args, kwargs))

    calls: list[Any] = []

    async def main() -> None:
        async with AsyncChannelManager(Recorder(store)) as chat:
            for name, method in public(ChannelManager).items():
                if name in STREAMS:
                    continue
                signature = inspect.signature(method)
                named = {
                    parameter: f"<{parameter}>" for parameter in signature.parameters if parameter != "self"
                }
                await getattr(chat, name)(**named)
                called, args, kwargs = calls.pop()
                assert public(ChannelManager)[called] is method
                assert signature.bind(None, *args, **kwargs).arguments == {"self": None} | named, name

    run(main())


def test_fifty_at_once_are_all_there_in_a_fresh_process(store: LocalStore) -> None:
    async def main() -> None:
        async with AsyncChannelManager(store) as chat:
            await chat.create_channel("general")
            sent = await asyncio.gather(*(chat.send_message("general", f"line {n}") for n in range(50)))
            assert len({message.id for message in sent}) == 50
            assert [message.body for message in sent] == [f"line {n}" for n in range(50)]
            read = [message async for message in chat.get_stored_messages("general", newest_first=True)]
            assert {message.id for message in read} == {message.id for message in sent}

    run(main())
    store.close()
    code = "answer = sorted(message.body for message in manager.get_stored_messages('general'))"
    assert vaults.in_fresh_process(store.folder, code) == sorted(f"line {n}" for n in range(50))


def test_iterating_goes_on_beyond_a_batch_and_may_stop_anywhere(store: LocalStore) -> None:
    chat = ChannelManager(store)
    id = chat.create_channel("general").id
    for n in range(450):
        store.store_message(id, str(n))

    async def main() -> None:
        async with AsyncChannelManager(chat) as awaited:
            assert [m.body async for m in awaited.get_stored_messages("general")] == [
                str(n) for n in range(450)
            ]
            async for message in awaited.get_stored_messages("general"):
                if message.body == "300":
                    break

    run(main())


def test_errors_come_through_and_a_closed_manager_says_so(store: LocalStore) -> None:
    async def main() -> None:
        async with AsyncChannelManager(store) as chat:
            with pytest.raises(NotFoundError):
                await chat.send_message("nowhere", "hello")
        with pytest.raises(UsageError) as failure:
            await chat.list_channels()
        assert failure.value.rule == "manager_closed"
        assert store.stats().messages == 0  # the store is its owner's to close

    run(main())
    assert not threads()


def test_its_connections_go_with_its_threads(store: LocalStore) -> None:
    async def main() -> None:
        async with AsyncChannelManager(store) as chat:
            await asyncio.gather(*(chat.list_channels() for _ in range(20)))

    ChannelManager(store).list_channels()
    for _ in range(3):
        run(main())
    gc.collect()
    assert len(store.database._readers) == 1


def test_a_cancelled_write_happens_once_or_not_at_all(store: LocalStore) -> None:
    """What a thread has begun is completed; what waits for a thread never begins."""
    began, go_on = threading.Event(), threading.Event()

    class Slow(ChannelManager):
        def send_message(self, *args: Any, **kwargs: Any) -> Any:
            began.set()
            assert go_on.wait(LIMIT_S)
            return super().send_message(*args, **kwargs)

    slow = Slow(store)
    slow.create_channel("general")

    async def main() -> None:
        async with AsyncChannelManager(slow) as chat:
            tasks = [asyncio.create_task(chat.send_message("general", f"line {n}")) for n in range(20)]
            await asyncio.to_thread(began.wait, LIMIT_S)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended)
            go_on.set()
        # closed: what was begun is done
        found = vaults.bodies(store, "general")
        assert 1 <= len(found) == len(set(found)) < 20

    run(main())


def test_events_reach_the_loop_from_any_thread(store: LocalStore) -> None:
    plain = ChannelManager(store)

    async def main() -> None:
        async with AsyncChannelManager(plain) as chat:
            channel = (await chat.create_channel("general")).id
            async with chat.events() as events:
                mine = await chat.send_message("general", "awaited")
                other = await asyncio.to_thread(plain.send_message, "general", "from a thread")
                assert await anext(events) == Event("message", channel, mine.id)
                assert await anext(events) == Event("message", channel, other.id)
                waiting = asyncio.ensure_future(anext(events))
                third = await chat.send_message("general", "waited for")
                assert await waiting == Event("message", channel, third.id)

    run(main())


def test_whoever_waits_for_events_can_be_cancelled_and_is_forgotten(store: LocalStore) -> None:
    plain = ChannelManager(store)
    plain.create_channel("general")

    async def main() -> None:
        async with AsyncChannelManager(plain) as chat:
            entered = asyncio.Event()

            async def listen() -> None:
                async with chat.events() as events:
                    entered.set()
                    async for _ in events:
                        pass

            task = asyncio.create_task(listen())
            await entered.wait()
            assert len(plain._hub._subscribers) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not plain._hub._subscribers

    run(main())
    assert not threads()


def test_a_subscriber_whose_loop_is_gone_breaks_no_write(store: LocalStore) -> None:
    plain = ChannelManager(store)
    plain.create_channel("general")
    loop = asyncio.new_event_loop()
    chat = AsyncChannelManager(plain)
    listening = chat.events()
    loop.run_until_complete(listening.__aenter__())
    loop.run_until_complete(chat.aclose())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    plain.send_message("general", "still written")
    assert vaults.bodies(store, "general") == ["still written"]
    with pytest.raises(StopIteration):
        listening.__aexit__(None, None, None).send(None)


def test_follow_sees_what_another_process_writes(store: LocalStore) -> None:
    ChannelManager(store).create_channel("general")
    code = "from tests.vaults import *; import sys; m = ChannelManager(opened(Path(sys.argv[1])));"
    code += "m.send_message('general', 'from elsewhere'); m.store.close()"

    async def main() -> None:
        async with AsyncChannelManager(store) as chat:
            arriving = chat.follow("general")
            first = asyncio.ensure_future(anext(arriving))
            while not first.done():  # until it has surely begun to follow
                await chat.send_message("general", "from here")
            writer = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, str(store.folder), cwd=vaults.ROOT, env=vaults.environment()
            )
            assert await writer.wait() == 0
            assert (await first).body == "from here"
            seen = [await first]
            async for message in arriving:
                seen.append(message)
                if message.body == "from elsewhere":
                    break
            assert len({message.id for message in seen}) == len(seen)
            waiting = asyncio.ensure_future(anext(arriving))
            await chat.list_channels()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(main())
    assert not threads()


def test_the_plain_import_loads_no_event_loop(store: LocalStore) -> None:
    code = "import sys, quire; quire.LocalStore, quire.ChannelManager; answer = 'asyncio' in sys.modules"
    assert vaults.in_fresh_process(store.folder, code) is False


def test_every_public_name_is_there() -> None:
    assert [name for name in quire.__all__ if not getattr(quire, name)] == []
    assert set(quire.__all__) <= set(dir(quire))
    assert not hasattr(quire, "nothing")
