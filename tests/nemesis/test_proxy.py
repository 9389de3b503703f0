"""The proxy, in front of a small echo server: bytes pass unchanged, and each disturbance does what its name says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from netra_probe.nemesis.flow import Direction, News
from netra_probe.nemesis.proxy import Proxy

SECONDS = 5.0


@asynccontextmanager
async def in_front_of_an_echo(window: int = 0) -> AsyncIterator[tuple[Proxy, News]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        news = News()
        proxy = Proxy(*server.sockets[0].getsockname()[:2], news=news, window=window)
        await proxy.start()
        try:
            yield proxy, news
        finally:
            await proxy.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until(news: News, reached: object) -> None:
    assert callable(reached)
    async with asyncio.timeout(SECONDS):
        while not reached():
            await news.wait()


async def test_bytes_pass_unchanged_both_ways_and_so_does_the_end() -> None:
    sent = bytes(range(256)) * 2_000
    async with in_front_of_an_echo() as (proxy, _), connected(proxy) as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), SECONDS) == sent


@pytest.mark.parametrize("window", [0, 2048])
async def test_what_is_cut_into_tiny_segments_or_late_arrives_whole(window: int) -> None:
    sent = bytes(range(256)) * 8
    async with in_front_of_an_echo(window) as (proxy, _):
        proxy.treat(Direction.BOTH, slice=7, delay=0.01)
        async with connected(proxy) as (reader, writer):
            writer.write(sent)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), SECONDS) == sent


async def test_a_reply_is_held_until_it_is_let_go() -> None:
    async with in_front_of_an_echo() as (proxy, news):
        proxy.treat(Direction.DOWN, stop=True)
        async with connected(proxy) as (reader, writer):
            writer.write(b"question")
            await until(news, lambda: any(channel.down.held == len(b"question") for channel in proxy.channels))
            reading = asyncio.ensure_future(reader.readexactly(8))
            (channel,) = proxy.channels
            assert (channel.down.passed, channel.up.passed, reading.done()) == (0, 8, False)
            channel.down.go_on()
            assert await asyncio.wait_for(reading, SECONDS) == b"question"


async def test_between_request_and_reply_a_connection_is_reset() -> None:
    async with in_front_of_an_echo() as (proxy, news):
        proxy.treat(Direction.DOWN, stop=True)
        async with connected(proxy) as (reader, writer):
            writer.write(b"question")
            await until(news, lambda: any(channel.down.held for channel in proxy.channels))
            proxy.channels[0].cut(reset=True)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(1), SECONDS)
            await until(news, lambda: not proxy.channels)


async def test_a_connection_is_ended_in_order() -> None:
    async with in_front_of_an_echo() as (proxy, _), connected(proxy) as (reader, writer):
        writer.write(b"question")
        assert await asyncio.wait_for(reader.readexactly(8), SECONDS) == b"question"
        proxy.channels[0].cut(reset=False)
        assert await asyncio.wait_for(reader.read(-1), SECONDS) == b""


async def test_a_reader_that_stopped_stops_a_sender_within_a_small_window() -> None:
    written = 0
    full = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 4096)
                written += 4096
                draining = asyncio.ensure_future(writer.drain())
                if not (await asyncio.wait((draining,), timeout=0.3))[0]:
                    full.set()
                await draining

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        news = News()
        proxy = Proxy(*server.sockets[0].getsockname()[:2], news=news, window=2048)
        await proxy.start()
        proxy.treat(Direction.DOWN, stop=True)
        try:
            async with connected(proxy) as (reader, _):
                await asyncio.wait_for(full.wait(), SECONDS)
                assert written < 500_000
                proxy.channels[0].down.go_on()
                assert await asyncio.wait_for(reader.readexactly(1_000_000), SECONDS) == b"x" * 1_000_000
        finally:
            await proxy.close()


async def test_whom_nobody_takes_is_turned_away() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    proxy = Proxy(*address, news=News())
    await proxy.start()
    try:
        async with connected(proxy) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(1), SECONDS)
                raise ConnectionResetError
    finally:
        await proxy.close()
