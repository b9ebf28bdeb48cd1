"""Hashing: any password, off the event loop, behind a queue that has an end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from argon2 import PasswordHasher, Type
from hypothesis import given
from hypothesis import strategies as st

from denizen.core.errors import Unavailable
from denizen.core.hashers import Argon2Hasher, Hasher, HashingBusy, NullHasher, normalise
from denizen.core.hashing import HashPool, Lane

LIGHT = Argon2Hasher(memory=64, passes=1, max_memory=4_096)
"""The real thing, with less to do."""

WHOLE = LIGHT.hash("password")
"""With a salt and an output of the lengths that libsodium computes."""

STRANGE = [
    "",
    "a",
    "p" * 73,
    "p" * 72 + "different",
    "x" * 1024,
    "é" * 1024,
    "correct horse battery staple",
    "😀👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈",
    "e\u0301\u0323\u0302",
    "a\x00b",
    "\x00",
    "\ud800",
    "a\udfff😀",
    "\u202eabc",
    "пароль-日本語-שלום",
    " leading and trailing ",
]


@dataclass
class Gate:
    """A hasher that waits to be let go on, and notes what it was asked in which thread."""

    open: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    priorities: list[int] = field(default_factory=list)
    most: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hash(self, password: str) -> str:
        with self.lock:
            self.asked.append(password)
            self.now += 1
            self.most = max(self.most, self.now)
            if sys.platform == "linux":
                self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.open.wait(60)
        with self.lock:
            self.now -= 1
        return "gate$" + password

    def verify(self, password: str, encoded: str) -> bool:
        return self.hash(password) == encoded

    def reads(self, encoded: str) -> bool:
        return True

    def needs_rehash(self, encoded: str) -> bool:
        return False

    def dummy(self) -> str:
        return "gate$"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  threads do not set events of a loop
            await asyncio.sleep(0.002)


# ------------------------------------------------------------------------------------------------------------- hashers


@pytest.mark.parametrize("hasher", [LIGHT, NullHasher()])
@pytest.mark.parametrize("password", STRANGE)
def test_every_password_fits_its_own_hash_and_no_other(hasher: Hasher, password: str) -> None:
    encoded = hasher.hash(password)

    assert encoded.isascii()
    assert hasher.verify(password, encoded)
    for other in STRANGE:
        assert hasher.verify(other, encoded) == (other == password)


def test_all_of_a_long_password_counts() -> None:
    encoded = LIGHT.hash("p" * 100)

    assert not LIGHT.verify("p" * 99, encoded)
    assert not LIGHT.verify("p" * 72, encoded)
    assert not LIGHT.verify("p" * 101, encoded)


def test_the_real_parameters_are_in_the_hash() -> None:
    hasher = Argon2Hasher()
    encoded = hasher.hash("correct horse")

    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert len(encoded) < 256
    assert hasher.verify("correct horse", encoded)
    assert not hasher.needs_rehash(encoded)


def test_the_way_accents_and_spaces_are_typed_does_not_matter() -> None:
    encoded = LIGHT.hash("caf\u00e9 \u00e0 la carte")

    assert LIGHT.verify("cafe\u0301\u00a0a\u0300\u2003la carte", encoded)
    assert not LIGHT.verify("cafe a la carte", encoded)


def test_a_hash_of_unnormalised_text_from_elsewhere_fits() -> None:
    typed = "cafe\u0301 noir"
    foreign = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(typed)

    assert LIGHT.verify(typed, foreign)


@given(st.text(st.characters(), max_size=40))
def test_normalising_twice_changes_nothing(password: str) -> None:
    assert normalise(normalise(password)) == normalise(password)


def test_hashes_of_other_effort_are_made_anew() -> None:
    assert Argon2Hasher(memory=128, passes=1).needs_rehash(LIGHT.hash("a"))
    assert Argon2Hasher(memory=64, passes=2).needs_rehash(LIGHT.hash("a"))
    assert LIGHT.needs_rehash("$2b$12$abcdefghijklmnopqrstuv")
    assert not NullHasher().needs_rehash(NullHasher().hash("a"))
    assert NullHasher().needs_rehash(LIGHT.hash("a"))


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "null$",
        "plain",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$",
        "$argon2id$v=19$m=64,t=1,p=1$!!!$???",
        "$argon2id$v=19$m=x,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=64,t=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
        "$argon2id$v=19$m=7,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
        "$argon2id$v=19$m=64,t=1,p=0$MDEyMzQ1Njc4OWFiY2RlZg$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
        "$argon2id$v=99$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\x00",
        "$argon2id$v=19$m=64,t=1,p=1$é$é",
        "\ud800",
    ],
)
def test_what_cannot_be_read_fits_no_password(encoded: str) -> None:
    assert not LIGHT.verify("password", encoded)
    assert LIGHT.needs_rehash(encoded) or encoded.startswith("$argon2id$v=19$m=64,t=1,p=1$")


@pytest.mark.parametrize(
    "asked", ["m=4194304,t=1,p=1", "m=64,t=4000000000,p=1", "m=16384,t=1,p=2000", "m=4097,t=1,p=1"]
)
def test_a_hash_that_could_stop_the_server_is_not_computed(asked: str) -> None:
    for salt in ("c2FsdHNhbHRzYWx0", "MDEyMzQ1Njc4OWFiY2RlZg"):
        encoded = f"$argon2id$v=19${asked}${salt}$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"

        assert not LIGHT.reads(encoded)
        assert not LIGHT.verify("password", encoded)


@pytest.mark.parametrize("kind", Type)
@pytest.mark.parametrize(("lanes", "salt", "output"), [(1, 16, 32), (2, 16, 32), (1, 8, 32), (1, 32, 64), (1, 16, 4)])
def test_hashes_of_other_systems_fit_their_password_alone(kind: Type, lanes: int, salt: int, output: int) -> None:
    other = PasswordHasher(2, 256, lanes, output, salt, type=kind)
    foreign = other.hash("password")

    assert LIGHT.reads(foreign)
    assert LIGHT.verify("password", foreign)
    assert not LIGHT.verify("Password", foreign)


def test_what_is_said_to_be_of_the_version_before_is_computed_so() -> None:
    assert not LIGHT.verify("password", WHOLE.replace("v=19", "v=16"))
    assert not LIGHT.verify("password", WHOLE.replace("$v=19", ""))


def test_a_hash_of_the_version_before_is_read() -> None:
    # Of the reference implementation's own tests (`argon2 v=16`, p=1): it says no version.
    old = "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"

    assert LIGHT.verify("password", old)
    assert not LIGHT.verify("passwort", old)


@given(st.text(st.characters(exclude_categories=()), max_size=40), st.integers(8, 300), st.integers(1, 3))
def test_other_systems_read_what_is_made_here(password: str, memory: int, passes: int) -> None:
    hasher = Argon2Hasher(memory=memory, passes=passes)
    encoded = hasher.hash(password)

    assert PasswordHasher().verify(encoded, normalise(password).encode("utf-8", "surrogatepass"))
    assert not hasher.needs_rehash(encoded)


@given(st.data())
def test_a_damaged_hash_fits_no_password_and_breaks_nothing(data: st.DataObject) -> None:
    whole = WHOLE
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.sampled_from(["", "$", "=", "A", "-", "9", "\0", "é"])) + whole[at + 1 :]

    assert LIGHT.verify("password", damaged) == (damaged == whole)


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [("m=64", "m=+64"), ("m=64", "m=6_4"), ("m=64", "m=064"), ("m=64,t=1,p=1", "p=1,t=1,m=64"), ("v=19$", "v=1_9$")],
)
def test_numbers_written_in_another_way_fit_no_password(written: str, otherwise: str) -> None:
    assert not LIGHT.verify("password", WHOLE.replace(written, otherwise))


def test_two_hashes_of_one_password_differ_throughout() -> None:
    first, second = (LIGHT.hash("password").split("$")[-2:] for _ in range(2))

    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize("asked", [{"memory": 7}, {"passes": 0}])
def test_effort_that_cannot_be_is_refused_at_once(asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Argon2Hasher(**asked)


def test_a_hash_written_in_another_way_than_it_would_be_is_refused() -> None:
    encoded = LIGHT.hash("password")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(encoded[-1])
    same_bits = encoded[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last + 1]

    assert LIGHT.verify("password", encoded)
    for other in (same_bits, encoded + "=", encoded + "\n", encoded + " "):
        assert not LIGHT.verify("password", other)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's limit on memory is another one elsewhere")
@pytest.mark.parametrize(("lanes", "room"), [(1, 24), (4, 24), (4, 70)])  # 70: for the memory, and not for threads
def test_without_memory_nobody_is_told_that_the_password_is_wrong(lanes: int, room: int) -> None:
    foreign = PasswordHasher(time_cost=1, memory_cost=60_000, parallelism=lanes).hash("password")
    program = f"""
import resource
from denizen.core.hashers import Argon2Hasher, HashingBusy
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + ({room} << 20),) * 2)
try:
    print(Argon2Hasher().verify("password", {foreign!r}))
except HashingBusy as busy:
    print(busy.code, busy.retry_after)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert found.stdout == "hashing_busy 1\n"


@pytest.mark.parametrize("hasher", [LIGHT, NullHasher()])
def test_no_password_fits_a_dummy(hasher: Hasher) -> None:
    dummy = hasher.dummy()

    assert not any(hasher.verify(password, dummy) for password in STRANGE)
    assert not LIGHT.needs_rehash(LIGHT.dummy())
    assert LIGHT.dummy() != LIGHT.dummy()


def test_refusing_an_unknown_account_takes_as_long_as_refusing_a_known_one() -> None:
    hasher = Argon2Hasher(memory=8_192)
    known, dummy = hasher.hash("password"), hasher.dummy()

    def seconds(encoded: str) -> float:
        best = 9.0
        for _ in range(5):
            began = time.thread_time()
            hasher.verify("wrong", encoded)
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(dummy) == pytest.approx(seconds(known), rel=0.5)


# ---------------------------------------------------------------------------------------------------------------- pool


async def test_the_pool_hashes_and_verifies() -> None:
    pool = HashPool(LIGHT)
    encoded = await pool.hash("correct horse", lane=Lane.PUBLIC)

    assert await pool.verify("correct horse", encoded, lane=Lane.PUBLIC)
    assert not await pool.verify("wrong horse", encoded, lane=Lane.TRUSTED)
    assert not await pool.verify("correct horse", None, lane=Lane.PUBLIC)
    assert pool.waiting == 0
    pool.close()


async def test_nothing_starts_before_it_is_needed(gate: Gate) -> None:
    before = threading.active_count()
    pool = HashPool(gate, threads=4)
    assert threading.active_count() == before

    gate.open.set()
    for _ in range(5):
        await pool.hash("a", lane=Lane.TRUSTED)

    assert threading.active_count() <= before + 4
    pool.close()


async def test_no_more_run_at_once_than_there_are_threads_and_all_are_used(gate: Gate) -> None:
    pool = HashPool(gate, threads=2, queue=20)
    calls = [asyncio.create_task(pool.hash(str(number), lane=Lane.TRUSTED)) for number in range(10)]
    await until(lambda: gate.now == 2)
    assert pool.waiting == 8

    gate.open.set()

    assert await asyncio.gather(*calls) == [f"gate${number}" for number in range(10)]
    assert gate.most == 2
    pool.close()


async def test_the_event_loop_goes_on_while_passwords_hash(gate: Gate) -> None:
    pool = HashPool(gate, threads=1)
    call = asyncio.create_task(pool.hash("a", lane=Lane.TRUSTED))
    await until(lambda: gate.asked)

    assert not call.done()
    gate.open.set()
    await call
    pool.close()


async def test_first_come_is_first_served(gate: Gate) -> None:
    pool = HashPool(gate, threads=1, queue=40)
    calls = []
    for number in range(20):
        lane = Lane.PUBLIC if number % 2 else Lane.TRUSTED
        calls.append(asyncio.create_task(pool.hash(str(number), lane=lane)))
        await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*calls)

    assert gate.asked == [str(number) for number in range(20)]
    pool.close()


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(gate: Gate) -> None:
    pool = HashPool(gate, threads=1, queue=4)
    calls = [asyncio.create_task(pool.hash(str(number), lane=Lane.TRUSTED)) for number in range(5)]
    await until(lambda: gate.now == 1 and pool.waiting == 4)

    with pytest.raises(HashingBusy) as refused:
        await pool.hash("one more", lane=Lane.TRUSTED)

    assert isinstance(refused.value, Unavailable)
    assert refused.value.code == "hashing_busy"
    assert isinstance(refused.value.retry_after, int)
    assert 1 <= refused.value.retry_after <= 30
    gate.open.set()
    assert len(await asyncio.gather(*calls)) == 5
    assert "one more" not in gate.asked
    pool.close()


async def test_strangers_never_take_more_than_half_of_the_queue(gate: Gate) -> None:
    pool = HashPool(gate, threads=2, queue=8)
    results = [asyncio.create_task(pool.hash(f"s{number}", lane=Lane.PUBLIC)) for number in range(50)]
    await until(lambda: gate.now == 2 and sum(each.done() for each in results) == 44)
    assert pool.waiting == 4

    trusted = [asyncio.create_task(pool.hash(f"t{number}", lane=Lane.TRUSTED)) for number in range(4)]
    await until(lambda: pool.waiting == 8)
    with pytest.raises(HashingBusy):
        await pool.hash("t5", lane=Lane.TRUSTED)
    with pytest.raises(HashingBusy):
        await pool.hash("s51", lane=Lane.PUBLIC)

    gate.open.set()
    answers = await asyncio.gather(*results, return_exceptions=True)
    assert sum(isinstance(each, HashingBusy) for each in answers) == 44
    assert len(await asyncio.gather(*trusted)) == 4
    pool.close()


async def test_who_gives_up_costs_no_hash_and_makes_room(gate: Gate) -> None:
    pool = HashPool(gate, threads=1, queue=4)
    calls = [asyncio.create_task(pool.hash(str(number), lane=Lane.PUBLIC)) for number in range(3)]
    await until(lambda: gate.now == 1 and pool.waiting == 2)

    for call in calls[1:]:
        call.cancel()
    await until(lambda: pool.waiting == 0)
    late = [asyncio.create_task(pool.hash(f"late {number}", lane=Lane.PUBLIC)) for number in range(2)]
    await until(lambda: pool.waiting == 2)
    gate.open.set()

    assert await asyncio.gather(*late) == ["gate$late 0", "gate$late 1"]
    assert gate.asked == ["0", "late 0", "late 1"]
    pool.close()


async def test_giving_up_while_it_hashes_disturbs_nobody(gate: Gate) -> None:
    pool = HashPool(gate, threads=1)
    call = asyncio.create_task(pool.hash("gone", lane=Lane.TRUSTED))
    await until(lambda: gate.now == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.open.set()

    assert await pool.hash("next", lane=Lane.TRUSTED) == "gate$next"
    pool.close()


async def test_a_deadline_leaves_the_queue_too(gate: Gate) -> None:
    pool = HashPool(gate, threads=1)
    first = asyncio.create_task(pool.hash("first", lane=Lane.TRUSTED))
    await until(lambda: gate.now == 1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await pool.hash("late", lane=Lane.TRUSTED)

    assert pool.waiting == 0
    gate.open.set()
    await first
    assert gate.asked == ["first"]
    pool.close()


async def test_an_error_of_the_hasher_reaches_who_asked_and_nobody_else() -> None:
    class Broken(NullHasher):
        def hash(self, password: str) -> str:
            if password == "bad":
                raise RuntimeError("broken")
            return super().hash(password)

    pool = HashPool(Broken(), threads=1)
    with pytest.raises(RuntimeError, match="broken"):
        await pool.hash("bad", lane=Lane.TRUSTED)

    assert await pool.verify("good", await pool.hash("good", lane=Lane.TRUSTED), lane=Lane.TRUSTED)
    pool.close()


async def test_closing_refuses_who_waits_and_finishes_what_runs(gate: Gate) -> None:
    before = set(threading.enumerate())
    pool = HashPool(gate, threads=1)
    running = asyncio.create_task(pool.hash("running", lane=Lane.TRUSTED))
    await until(lambda: gate.now == 1)
    waiting = [asyncio.create_task(pool.hash(str(number), lane=Lane.PUBLIC)) for number in range(3)]
    await until(lambda: pool.waiting == 3)

    pool.close()
    pool.close()

    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in refused] == [HashingBusy] * 3
    gate.open.set()
    assert await running == "gate$running"
    assert gate.asked == ["running"]
    await until(lambda: not any(each.name == "denizen-hash" for each in set(threading.enumerate()) - before))


async def test_a_closed_pool_opens_again_when_it_is_needed() -> None:
    pool = HashPool(NullHasher(), threads=2)
    for _ in range(3):
        assert (await pool.hash("a", lane=Lane.PUBLIC)).startswith("null$")
        pool.close()


async def test_a_pool_that_was_flooded_works_as_before() -> None:
    pool = HashPool(LIGHT, threads=2, queue=10)
    for _ in range(3):
        calls = [pool.hash(str(number), lane=Lane.PUBLIC if number % 3 else Lane.TRUSTED) for number in range(200)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in answers} == {str, HashingBusy}
    assert pool.waiting == 0
    assert pool._running == 0
    assert pool._public == 0

    assert await asyncio.gather(*[pool.verify("a", LIGHT.hash("a"), lane=Lane.PUBLIC) for _ in range(5)]) == [True] * 5
    pool.close()


def test_one_pool_serves_several_event_loops_at_once() -> None:
    pool = HashPool(LIGHT, threads=2, queue=64)
    answers: list[list[bool]] = []

    async def sign_in() -> list[bool]:
        encoded = await pool.hash("a", lane=Lane.TRUSTED)
        return await asyncio.gather(*[pool.verify("a", encoded, lane=Lane.TRUSTED) for _ in range(10)])

    loops = [threading.Thread(target=lambda: answers.append(asyncio.run(sign_in()))) for _ in range(4)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(60)

    assert answers == [[True] * 10] * 4
    pool.close()


def test_a_loop_that_ended_meanwhile_harms_nobody(gate: Gate) -> None:
    pool = HashPool(gate, threads=1)

    async def leave() -> None:
        call = asyncio.create_task(pool.hash("left behind", lane=Lane.TRUSTED))
        await until(lambda: gate.now == 1)
        call.cancel()

    asyncio.run(leave())
    gate.open.set()

    assert asyncio.run(pool.hash("next", lane=Lane.TRUSTED)) == "gate$next"
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="priorities belong to threads on Linux alone")
async def test_hashing_threads_are_nice_and_the_event_loop_is_not(gate: Gate) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    pool = HashPool(gate, threads=1)
    gate.open.set()
    await pool.hash("a", lane=Lane.TRUSTED)

    assert gate.priorities == [max(before, 15)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    pool = HashPool(LIGHT, threads=1)
    asyncio.run(pool.hash("parent", lane=Lane.TRUSTED))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            encoded = asyncio.run(asyncio.wait_for(pool.hash("child", lane=Lane.TRUSTED), 30))
            code = 0 if LIGHT.verify("child", encoded) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    pool.close()


@pytest.mark.parametrize(("threads", "queue"), [(0, 10), (1, 1), (-1, 10)])
def test_a_pool_without_room_is_refused(threads: int, queue: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        HashPool(NullHasher(), threads=threads, queue=queue)
