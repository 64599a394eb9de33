"""The row in which very many other jobs wait."""

from __future__ import annotations

import time

from tests.chaos.rows.base import EVERY_REDIS, row
from tests.chaos.rows.processes import strike_child
from tests.chaos.rows.redis_server import eyes_of
from tests.chaos.trial import Trial
from tests.chaos.verdict import Verdict

#: So many are scheduled for tomorrow. Each look at the broker reads them all.
SCHEDULED = 20_000
BATCH = 1000

# Their ids begin with eight zero bytes, so that they can be told from the others, and are in order.
SCHEDULE = """
    for n = ARGV[1], ARGV[2] do
        local id = string.rep('\\0', 8) .. struct.pack('>I8', n)
        redis.call('HSET', KEYS[1] .. 'jobs', id, '{}')
        redis.call('ZADD', KEYS[1] .. 'sched', ARGV[3], 'd' .. id)
    end
"""
FORGET = """
    local gone = 0
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'sched', ARGV[1], '+inf')) do
        redis.call('HDEL', KEYS[1] .. 'jobs', string.sub(member, 2))
        gone = gone + redis.call('ZREM', KEYS[1] .. 'sched', member)
    end
    return gone
"""


@row(29, "kill -9 a child while 20,000 jobs are scheduled", modes=EVERY_REDIS, brief=("redis",), faults=2)
def deep_queue(trial: Trial) -> Verdict:
    eyes, tomorrow = eyes_of(trial), int(time.time() * 1000) + 86_400_000
    for first in range(0, SCHEDULED, BATCH):
        eyes.ask("EVAL", SCHEDULE, 1, eyes.base, first, first + BATCH - 1, tomorrow)
    trial.start()
    trial.produce()
    for moment in trial.moments():
        strike_child(trial, moment)
    still_there = eyes.ask("EVAL", FORGET, 1, eyes.base, tomorrow)
    trial.problems += [] if still_there == SCHEDULED else [f"{still_there} of {SCHEDULED} scheduled jobs are there"]
    return trial.finish()
