"""The conformance suite, run for every broker on every server."""

from __future__ import annotations

from tests.brokers.contract.claims import ClaimContract
from tests.brokers.contract.consumers import (
    ExpiredContract,
    HeartbeatContract,
    ReapContract,
    RegisterContract,
    ResyncContract,
    UnregisterContract,
)
from tests.brokers.contract.looking import (
    AheadContract,
    ContinuityContract,
    CountsContract,
    FindContract,
    PeekContract,
    PingContract,
    QueuesContract,
)
from tests.brokers.contract.outside import (
    ForgetContract,
    PauseContract,
    PurgeContract,
    ReviveContract,
    RevokeContract,
)
from tests.brokers.contract.settling import AckContract, BuryContract, ReleaseContract, RetryContract
from tests.brokers.contract.strays import StraysContract
from tests.brokers.contract.waiting import InterruptContract, ThreadsContract, WaitContract, WaitEndContract
from tests.brokers.contract.way_in import EnqueueContract
from tests.brokers.contract.workers import CommandContract, ConsumersContract, ReportContract


class TestEnqueue(EnqueueContract): ...


class TestRegister(RegisterContract): ...


class TestHeartbeat(HeartbeatContract): ...


class TestUnregister(UnregisterContract): ...


class TestResync(ResyncContract): ...


class TestReap(ReapContract): ...


class TestExpired(ExpiredContract): ...


class TestClaim(ClaimContract): ...


class TestAck(AckContract): ...


class TestRetry(RetryContract): ...


class TestRelease(ReleaseContract): ...


class TestBury(BuryContract): ...


class TestRevoke(RevokeContract): ...


class TestForget(ForgetContract): ...


class TestRevive(ReviveContract): ...


class TestPause(PauseContract): ...


class TestPurge(PurgeContract): ...


class TestWait(WaitContract): ...


class TestInterrupt(InterruptContract): ...


class TestWaitEnd(WaitEndContract): ...


class TestThreads(ThreadsContract): ...


class TestFind(FindContract): ...


class TestAhead(AheadContract): ...


class TestPeek(PeekContract): ...


class TestQueues(QueuesContract): ...


class TestCounts(CountsContract): ...


class TestPing(PingContract): ...


class TestReport(ReportContract): ...


class TestCommand(CommandContract): ...


class TestConsumers(ConsumersContract): ...


class TestStrays(StraysContract): ...


class TestContinuity(ContinuityContract): ...
