"""One client as members of consumer groups, against one broker: joins, rebalances as others join, leave and crash, what
it commits and how it seeks, pauses and resumes, where it begins, and static members. The members are processes of the
client's own program; the records are written, and what was committed is seen, from outside of the group.

`run` starts it for each client, protocol and assignor, with the places of the clients in its environment. Every session
but that of the member that is to crash is longer than any wait here: who takes over did so because of a LeaveGroup. The
sessions of the consumer protocol are the broker's (`run` sets them short).
"""

import argparse
import sys
import time
import uuid

from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from members import Difference, Member

PARTITIONS = 6
FILLED = 50
ANSWER_SECONDS = 20
# So long a paused partition is watched while the others go on.
QUIET_SECONDS = 1
LONG_SESSION_MS, SHORT_SESSION_MS = 60_000, 2_000
OLD_MS = 2 * 3600 * 1000

# What a client has beyond what all have. franz-go's static members leave a group of the consumer protocol without naming
# their instance, which Kafka refuses; kafka-python's say nothing when they are fenced.
CAPABLE = {
    "librdkafka": {"none", "static", "static consumer", "fenced"},
    "kafka-python": {"none", "static"},
    "java": {"none", "static", "static consumer", "fenced", "by_duration"},
    "franz-go": {"none", "static", "fenced", "by_duration"},
    "kafkajs": set(),
}


def demand(condition, sentence):
    if not condition:
        raise Difference(sentence)


class Scenario:
    def __init__(self, args):
        self.args, self.members = args, []
        self.can = CAPABLE[args.client]
        self.cooperative = args.protocol == "consumer" or args.assignor == "cooperative-sticky"
        # `range` deals out neighbours in the order of the members' names: some may move as others come and go.
        self.sticky = self.cooperative and args.assignor != "range"
        self.admin = AdminClient({"bootstrap.servers": args.bootstrap})
        self.producer = Producer({"bootstrap.servers": args.bootstrap, "linger.ms": 0, "acks": "all"})
        self.topic = f"group-{args.client}-{args.protocol}-{args.assignor}-{uuid.uuid4().hex[:8]}"
        self.ends = [0] * PARTITIONS
        created = self.admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])
        created[self.topic].result(ANSWER_SECONDS)

    def write(self, each, age_ms=0):
        """So many records to each partition."""
        stamp = int(time.time() * 1000) - age_ms
        for partition in range(PARTITIONS):
            for _ in range(each):
                self.producer.produce(self.topic, value=b"record", partition=partition, timestamp=stamp)
            self.ends[partition] += each
        demand(self.producer.flush(ANSWER_SECONDS) == 0, "the records could not be written")

    def member(self, name, group, session_ms=LONG_SESSION_MS, **options):
        one = Member(name, self.args.client, self.args.bootstrap, self.topic, f"{self.topic}-{group}",
                     protocol=self.args.protocol, assignor=self.args.assignor, session_ms=session_ms, **options)
        self.members.append(one)
        return one

    def outside(self, group):
        """What is committed, as one sees it who is no member: {partition: offset}."""
        request = ConsumerGroupTopicPartitions(f"{self.topic}-{group}")
        (answer,) = self.admin.list_consumer_group_offsets([request]).values()
        found = answer.result(ANSWER_SECONDS).topic_partitions
        return {one.partition: one.offset for one in found if one.offset >= 0}

    def shared(self, what, *members):
        """Waits until these own all partitions, each as many as fair and none twice."""
        def fair():
            owned = [one.owned() for one in members]
            most, least = max(map(len, owned)), min(map(len, owned))
            return sum(map(len, owned)) == PARTITIONS and len(set().union(*owned)) == PARTITIONS and most - least <= 1

        members[0].wait(f"fair share among {len(members)} {what}", fair)

    def reads(self, members, wanted, marks, what):
        """Waits until `members` processed since `marks` just what `wanted` says, each record once."""
        def read():
            found = {}
            for one, mark in zip(members, marks):
                for partition, offsets in one.read(mark).items():
                    found.setdefault(partition, []).extend(offsets)
            return found

        wanted = {partition: list(offsets) for partition, offsets in wanted.items() if offsets}
        members[0].wait(what, lambda: sum(map(len, read().values())) >= sum(map(len, wanted.values())))
        found = read()
        demand(found == wanted, f"{what}: read {shown(found)}, not {shown(wanted)}")

    def new(self, each):
        """The offsets of the next so many records of each partition, which are written then."""
        wanted = {partition: range(end, end + each) for partition, end in enumerate(self.ends)}
        self.write(each)
        return wanted

    # The steps, in order; all but the first and the last share the group `main`.

    def resets(self):
        """Where a group begins that committed nothing."""
        self.write(FILLED // 2, OLD_MS)
        self.write(FILLED // 2)
        begin = {"earliest": 0, "latest": FILLED}
        if "by_duration" in self.can:
            begin["by_duration:PT1H"] = FILLED // 2
        members = {reset: self.member(reset, f"reset-{reset[:6]}", reset=reset) for reset in begin}
        if "none" in self.can:
            none = self.member("none", "reset-none", reset="none")
            none.wait("error of a group without offsets and reset", lambda: none.since(0, "error"))
            demand(not none.read(), "a member without reset read records")
            none.kill()
        latest = members["latest"]
        self.shared("that begins at the end", latest)
        # It owns its partitions before it has asked where they end.
        time.sleep(QUIET_SECONDS)
        self.write(1)
        for reset, first in begin.items():
            wanted = {partition: range(first, FILLED + 1) for partition in range(PARTITIONS)}
            self.reads([members[reset]], wanted, [0], f"records from reset {reset}")
            members[reset].kill()

    def joins(self):
        """One member commits in both ways; a second joins and goes on where the first had committed."""
        self.first = first = self.member("first", "main")
        self.shared("of one", first)
        self.reads([first], {partition: range(end) for partition, end in enumerate(self.ends)}, [0], "all records")
        demand(first.committed() == {} and self.outside("main") == {}, "something was committed by itself")
        first.ask("commit")
        demand(self.outside("main") == dict(enumerate(self.ends)), f"committed {self.outside('main')}, not {self.ends}")
        mark = first.mark()
        self.second = second = self.member("second", "main", session_ms=SHORT_SESSION_MS)
        self.shared("after a join", first, second)
        if self.cooperative:
            self.moved_only(first, mark, PARTITIONS // 2)
        marks = [first.mark(), 0]
        self.reads([first, second], self.new(3), marks, "new records after a join")
        for one in (first, second):
            one.ask("commit-async")
        demand(self.outside("main") == dict(enumerate(self.ends)), f"committed {self.outside('main')}, not {self.ends}")
        for one in (first, second):
            mine = {partition: self.ends[partition] for partition in one.owned()}
            found = {partition: offset for partition, offset in one.committed().items() if partition in mine}
            demand(found == mine, f"{one.name} sees {found} committed, not {mine}")

    def moved_only(self, member, mark, most):
        """Since the mark it gave up so many partitions, and stopped none of those that it kept."""
        gone = [int(word) for event in member.since(mark, "revoked", "lost") for word in event.words]
        come = [int(word) for event in member.since(mark, "assigned") for word in event.words]
        demand(len(gone) == most, f"{member.name} gave up {gone} where {most} had to move")
        demand(not come, f"{member.name} was given {come} anew")

    def leaves(self):
        """A third joins and leaves again: the others have its partitions before any session has ended."""
        first, second = self.first, self.second
        third = self.member("third", "main")
        self.shared("after a second join", first, second, third)
        kept = first.owned()
        mark = first.mark()
        third.close()
        self.shared("after one left", first, second)
        if self.sticky:
            gone = first.since(mark, "revoked", "lost")
            demand(not any(event.words for event in gone) and kept <= first.owned(), f"{first.name} gave up partitions as another left")
        marks = [first.mark(), second.mark()]
        self.reads([first, second], self.new(2), marks, "new records after one left")

    def crashes(self):
        """The second dies without having committed: the first reads again what the second had read since."""
        first, second = self.first, self.second
        mine, theirs = first.owned(), second.owned()
        before, mark = self.outside("main"), first.mark()
        wanted = self.new(2)
        self.reads([first], {partition: wanted[partition] for partition in mine}, [mark], "records before a crash")
        second.wait("records before a crash", lambda: all(
            self.ends[partition] - 1 in second.read().get(partition, []) for partition in theirs))
        first.ask("commit")
        mark = first.mark()
        second.kill()
        self.shared("after a crash", first)
        again = {partition: range(before[partition], self.ends[partition]) for partition in theirs}
        self.reads([first], again, [mark], "what was not committed, after a crash")

    def seeks(self):
        first, mark = self.first, self.first.mark()
        first.ask("seek", 0, 7)
        self.reads([first], {0: range(7, self.ends[0])}, [mark], "records again after a seek")
        first.ask("pause", 1, 2)
        mark, wanted = first.mark(), self.new(2)
        others = {partition: offsets for partition, offsets in wanted.items() if partition not in (1, 2)}
        self.reads([first], others, [mark], "records beside paused partitions")
        time.sleep(QUIET_SECONDS)
        demand(not {1, 2} & set(first.read(mark)), "records of paused partitions were read")
        mark = first.mark()
        first.ask("resume", 1, 2)
        paused = {partition: wanted[partition] for partition in (1, 2)}
        self.reads([first], paused, [mark], "records of the partitions that go on")

    def resumes(self):
        """All leave; who comes next goes on where they committed, whatever its reset says."""
        self.first.ask("commit")
        self.first.close()
        wanted = self.new(4)
        after = self.member("after", "main", reset="latest")
        self.reads([after], wanted, [0], "records since the last commit")
        after.close()

    def static(self):
        """A static member that is gone for a moment keeps its partitions, and nobody else stops."""
        one = self.member("static-1", "static", instance="static-1")
        two = self.member("static-2", "static", instance="static-2")
        self.shared("static", one, two)
        mine, mark = two.owned(), one.mark()
        two.close()
        again = self.member("static-2 again", "static", instance="static-2")
        self.shared("static, one of them started anew", one, again)
        demand(again.owned() == mine, f"the static member came back to {again.owned()}, not {mine}")
        stopped = [event for event in one.since(mark, "revoked", "lost") if event.words]
        demand(not stopped, "a static member stopped as the other was started anew")
        if "fenced" not in self.can:
            return
        twin = self.member("static-2 twin", "static", instance="static-2")
        fenced = lambda: [event for it in (again, twin) for event in it.since(0, "error", "failed")] or again.ended or twin.ended
        again.wait("error of two members with one instance", fenced)

    def run(self):
        steps = [self.resets, self.joins, self.leaves, self.crashes, self.seeks, self.resumes]
        if ("static" if self.args.protocol == "classic" else "static consumer") in self.can:
            steps.append(self.static)
        for step in steps:
            began = time.monotonic()
            try:
                step()
            except Difference as difference:
                tails = "".join(f"\n  {one.name}{' (ended)' if one.ended else ''}: {one.tail()}" for one in self.members[-4:])
                raise Difference(f"{step.__name__}: {difference}{tails}") from None
            print(f"{step.__name__}: {time.monotonic() - began:.1f} s", flush=True)

    def end(self):
        for one in self.members:
            if one.ended is None:
                one.process.kill()
        self.admin.delete_topics([self.topic])[self.topic].result(ANSWER_SECONDS)


def shown(found):
    """Offsets as ranges, for a sentence."""
    return {partition: f"{min(offsets)}..{max(offsets)} ({len(offsets)})" for partition, offsets in sorted(found.items())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--client", required=True, choices=sorted(CAPABLE))
    parser.add_argument("--protocol", default="classic", choices=["classic", "consumer"])
    parser.add_argument("--assignor", default="")
    scenario = Scenario(parser.parse_args())
    try:
        scenario.run()
    except Difference as difference:
        sys.exit(str(difference))
    finally:
        scenario.end()


if __name__ == "__main__":
    main()
