"""Random joins, leaves and crashes of consumers in one group, while records are written: the proof of consumer groups.

A member commits what it has processed and nothing else. In the end each record was processed by someone, all are
committed, and wherever one change stood alone, with the group at rest before and after it, the partitions that stayed
with their member were neither taken from it nor assigned anew, none moved that had not to, and records of them went on
being processed in between. With --kills the broker is killed too, with -9, and started again.

  tests/clients/groups --ottla target/release/ottla --protocol consumer --seed 7
"""

import argparse
import logging
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from members import Difference, Member

PARTITIONS = 12
MEMBERS_MIN, MEMBERS_MAX = 2, 6
ASSIGNORS = {"classic": "cooperative-sticky", "consumer": "uniform"}
SESSION_MS = 3000
ANSWER_SECONDS = 30
# So long a group may take to come to rest: sessions that end, and a broker that starts, are part of it.
REST_SECONDS_MAX = 60
# What follows a rest within this time belongs to the same rebalance.
REST_SECONDS = 0.3
# A partition that stays, in a rebalance of at least this length, must have been read from meanwhile.
LONG_SECONDS = 2.0
ALONE, JAVA = 0.7, 0.35
KEYS = {
    "group.initial.rebalance.delay.ms": 100, "group.min.session.timeout.ms": 1000,
    "group.consumer.min.session.timeout.ms": 1000, "group.consumer.session.timeout.ms": SESSION_MS,
    "group.consumer.min.heartbeat.interval.ms": 100, "group.consumer.heartbeat.interval.ms": 500,
}


class Broker:
    """`ottla server` with its data in `folder`; after a kill it starts again with the same data at the same port."""

    def __init__(self, program, folder):
        self.program, self.folder, self.port = program, folder, 0
        self.start()

    def start(self):
        settings = {"listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "ottla.admin.listener": "127.0.0.1:0",
                    "log.dirs": f"{self.folder}/data"} | KEYS
        words = [word for key, value in settings.items() for word in ("--override", f"{key}={value}")]
        with open(f"{self.folder}/broker.log", "ab") as log:
            self.process = subprocess.Popen([self.program, "server", *words], stdout=subprocess.PIPE, stderr=log, text=True)
        found = re.match(r"ready kafka=(\S+)", self.process.stdout.readline())
        if not found:
            raise Difference(f"the broker did not start: {self.last_words()}")
        self.bootstrap = found.group(1)
        self.port = int(self.bootstrap.rsplit(":", 1)[1])

    def last_words(self):
        with open(f"{self.folder}/broker.log", errors="replace") as log:
            return log.read()[-1500:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def silent():
    logger = logging.getLogger("librdkafka")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


class Writer(threading.Thread):
    """Writes records to all partitions in turn, `rate` a second, until it has written enough and is told to end."""

    def __init__(self, bootstrap, topic, records, rate):
        super().__init__(daemon=True)
        self.topic, self.records, self.rate, self.ends, self.failure = topic, records, rate, [0] * PARTITIONS, None
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
            "message.timeout.ms": 0, "reconnect.backoff.max.ms": 200,
        }, logger=silent()) # it would speak of each kill of the broker
        self.sent, self.enough = 0, threading.Event()

    def delivered(self, error, message):
        if error is None:
            self.ends[message.partition()] = max(self.ends[message.partition()], message.offset() + 1)
        else:
            self.failure = str(error)

    def run(self):
        began = time.monotonic()
        while self.sent < self.records or not self.enough.is_set():
            due = self.records if self.enough.is_set() else int((time.monotonic() - began) * self.rate)
            # Little goes on behind the last, so that a rebalance still has something to go on with.
            due = min(due, self.records) if self.sent < self.records else self.sent + PARTITIONS
            for _ in range(min(due - self.sent, 20_000)):
                try:
                    self.producer.produce(
                        self.topic, value=b"record %d" % self.sent, partition=self.sent % PARTITIONS, on_delivery=self.delivered)
                except BufferError:
                    break
                self.sent += 1
            self.producer.poll(0.02)
        if self.producer.flush(ANSWER_SECONDS) != 0:
            self.failure = "records were not acknowledged"

    def finish(self):
        self.enough.set()
        self.join(REST_SECONDS_MAX * 5)
        if self.is_alive() or self.failure or sum(self.ends) != self.sent:
            raise Difference(f"{sum(self.ends)} of {self.sent} records were written: {self.failure}")


class Proof:
    def __init__(self, args, bootstrap, broker):
        self.args, self.bootstrap, self.broker = args, bootstrap, broker
        self.chance = random.Random(args.seed)
        self.topic = f"proof-{args.protocol}-{args.clients}-{time.time_ns()}"
        self.members, self.live = [], []
        self.counts = {"joins": 0, "leaves": 0, "crashes": 0, "kills": 0}
        # What left or crashed and is perhaps still a member: one that had joined and owned nothing yet is known to the group
        # until its session ends, and what is assigned to it is nobody's.
        self.going, self.ghosts_until = [], 0
        self.alone = self.stayed = self.watched = 0
        self.faults = []
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(ANSWER_SECONDS)

    # Changes

    def join(self):
        client = {"java": "java", "librdkafka": "librdkafka"}.get(self.args.clients)
        client = client or ("java" if self.chance.random() < JAVA else "librdkafka")
        assignor = self.args.assignor or ASSIGNORS[self.args.protocol]
        one = Member(f"member-{len(self.members)}", client, self.bootstrap, self.topic, self.topic,
                     protocol=self.args.protocol, assignor=assignor, session_ms=SESSION_MS, commit=self.args.commit)
        self.members.append(one)
        self.live.append(one)

    def leave(self):
        one = self.live.pop(self.chance.randrange(len(self.live)))
        one.tell("close")
        self.going.append(one)

    def crash(self):
        one = self.live.pop(self.chance.randrange(len(self.live)))
        if not one.owned():
            self.ghosts_until = time.monotonic() + SESSION_MS / 1000 + 1
        one.process.kill()
        self.going.append(one)

    def change(self):
        kinds = (["join"] * (len(self.live) < MEMBERS_MAX)) + ["leave", "crash"] * (len(self.live) > MEMBERS_MIN)
        kind = self.chance.choice(kinds)
        getattr(self, kind)()
        self.counts[{"join": "joins", "leave": "leaves", "crash": "crashes"}[kind]] += 1
        return kind

    def kill(self):
        self.counts["kills"] += 1
        self.broker.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.broker.start()

    # Rest

    def owned(self):
        return {one: one.owned() for one in self.live}

    def at_rest(self):
        self.going = [one for one in self.going if one.ended is None]
        if self.going or time.monotonic() < self.ghosts_until:
            return False
        owned = list(self.owned().values())
        sizes = list(map(len, owned))
        return sum(sizes) == PARTITIONS == len(set().union(*owned)) and max(sizes) - min(sizes) <= 1

    def rest(self, after):
        deadline = time.monotonic() + REST_SECONDS_MAX
        since = None
        while since is None or time.monotonic() - since < REST_SECONDS:
            since = (since or time.monotonic()) if self.at_rest() else None
            if time.monotonic() > deadline:
                tails = "".join(f"\n  {one.name} ({one.client}): {one.tail()}" for one in self.live)
                raise Difference(f"the group found no rest after {after}{tails}")
            time.sleep(0.02)

    # Checks

    def compare(self, kind, before, began):
        """One change that stood alone: what need not move stays, and goes on."""
        self.alone += 1
        after, ended = self.owned(), time.monotonic()
        survivors = [one for one in before if one in after]
        moves = [event.at for one in after for event in one.events
                 if began <= event.at and event.words and event.word in ("assigned", "revoked", "lost")]
        for one in survivors:
            kept = before[one] & after[one]
            self.stayed += len(kept)
            touched = {int(word) for event in one.events if event.at >= began
                       and event.word in ("assigned", "revoked", "lost") for word in event.words}
            if touched & kept:
                self.faults.append(f"{kind} {self.alone}: {one.name} ({one.client}) keeps {sorted(kept)}, but was stopped in {sorted(touched & kept)}")
            gained = after[one] - before[one] if kind == "join" else before[one] - after[one]
            if gained:
                self.faults.append(f"{kind} {self.alone}: {one.name} ({one.client}) {'gained' if kind == 'join' else 'lost'} {sorted(gained)} without need")
            until = max(moves, default=ended)
            if until - began >= LONG_SECONDS:
                self.watched += len(kept)
                read = {int(event.words[0]) for event in one.events if began <= event.at <= until and event.word == "read"}
                if kept - read:
                    self.faults.append(f"{kind} {self.alone}: {one.name} ({one.client}) read nothing of {sorted(kept - read)} for {until - began:.1f} s")

    def missing(self, ends):
        """What nobody processed, and how many were processed more than once."""
        runs, total = {}, 0
        for one in self.members:
            for event in one.since(0, "read"):
                partition, first, last = map(int, event.words)
                runs.setdefault(partition, []).append((first, last))
                total += last - first + 1
        gaps = []
        for partition, end in enumerate(ends):
            reached = 0
            for first, last in sorted(runs.get(partition, [])):
                if first > reached:
                    gaps.append((partition, reached, first - 1))
                reached = max(reached, last + 1)
            if reached < end:
                gaps.append((partition, reached, end - 1))
        return gaps, total - sum(ends) + sum(last - first + 1 for _, first, last in gaps)

    def committed(self):
        request = ConsumerGroupTopicPartitions(self.topic)
        (answer,) = self.admin.list_consumer_group_offsets([request]).values()
        return {one.partition: one.offset for one in answer.result(ANSWER_SECONDS).topic_partitions if one.offset >= 0}

    def run(self):
        changes = self.args.changes
        writer = Writer(self.bootstrap, self.topic, self.args.records, self.args.records / (changes * 1.5))
        kills = set(self.chance.sample(range(1, changes), self.args.kills)) if self.args.kills else set()
        for _ in range(3):
            self.join()
        self.rest("the first joins")
        writer.start()
        rested = True
        for number in range(changes):
            before, began = self.owned(), time.monotonic()
            kind = self.change()
            killed = number in kills
            if killed:
                time.sleep(self.chance.uniform(0, 0.3))
                self.kill()
            if killed or self.chance.random() < ALONE:
                self.rest(f"{kind} {number}{' and a kill of the broker' if killed else ''}")
                if rested and not killed:
                    self.compare(kind, before, began)
                rested = True
            else:
                time.sleep(self.chance.uniform(0, 0.7))
                rested = False
        self.rest("the last change")
        writer.finish()
        ends = writer.ends
        deadline = time.monotonic() + REST_SECONDS_MAX
        while (gaps := self.missing(ends)[0]) and time.monotonic() < deadline:
            time.sleep(0.2)
        if gaps:
            raise Difference(f"{sum(last - first + 1 for _, first, last in gaps)} records were processed by nobody: {gaps[:5]}")
        while self.live:
            self.live.pop().close()
        if self.committed() != dict(enumerate(ends)):
            raise Difference(f"in the end {self.committed()} is committed, not {ends}")
        if self.faults:
            raise Difference(f"{len(self.faults)} partitions or more stopped or moved without need:\n  " + "\n  ".join(self.faults[:10]))
        again = self.missing(ends)[1]
        counted = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        return (f"{self.args.protocol}, {self.args.clients}: {sum(ends)} records processed, {again} more than once, through {counted}; "
                f"{self.alone} changes alone: {self.stayed} partitions stayed and did not stop, {self.watched} of them watched for {LONG_SECONDS:.0f} s or more")

    def end(self):
        for one in self.members:
            if one.ended is None:
                one.process.kill()


def main():
    parser = argparse.ArgumentParser(prog="groups", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--ottla", help="starts `PROGRAM server` with its data in a temporary folder")
    where.add_argument("--bootstrap", help="a broker that runs, with short sessions as README.md says")
    parser.add_argument("--protocol", choices=sorted(ASSIGNORS), default="consumer")
    parser.add_argument("--clients", choices=["java", "librdkafka", "both"], default="both")
    parser.add_argument("--records", type=int, default=1_000_000, help="at least so many are written")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--kills", type=int, default=0, help="of the broker, with -9, in the midst of changes")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--assignor", default="", help="another one: with `range` the proof must fail")
    parser.add_argument("--commit", default="processed", choices=["processed", "none"], help="with `none` the proof must fail")
    args = parser.parse_args()
    if args.kills and not args.ottla:
        parser.error("--kills needs --ottla")
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ottla-groups-") as folder:
        broker = proof = None
        try:
            broker = Broker(args.ottla, folder) if args.ottla else None
            proof = Proof(args, broker.bootstrap if broker else args.bootstrap, broker)
            print(f"PROVED {proof.run()}")
        except Difference as difference:
            said = f"\nthe end of what the broker said: {broker.last_words()}" if broker else ""
            sys.exit(f"{difference}{said}")
        finally:
            if proof:
                proof.end()
            if broker:
                broker.stop()


if __name__ == "__main__":
    main()
