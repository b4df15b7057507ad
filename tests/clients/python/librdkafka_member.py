"""A member of a group: librdkafka, by its Python binding confluent-kafka."""

from confluent_kafka import Consumer, KafkaException, TopicPartition

import member
from member import say

ANSWER_SECONDS = 10
BATCH_RECORDS = 500
NO_OFFSET = -1001
RESETS = {"earliest": "earliest", "latest": "latest", "none": "error"}


def config(args):
    common = {
        "bootstrap.servers": args.bootstrap, "group.id": args.group, "enable.auto.commit": False,
        "auto.offset.reset": RESETS[args.reset], "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
        "retry.backoff.ms": 50, "fetch.wait.max.ms": 100, "log_level": 2, "topic.metadata.refresh.interval.ms": 2000,
    }
    if args.instance:
        common["group.instance.id"] = args.instance
    if args.protocol == "consumer":
        remote = {"group.remote.assignor": args.assignor} if args.assignor else {}
        return common | {"group.protocol": "consumer"} | remote
    return common | {
        "session.timeout.ms": args.session_ms, "heartbeat.interval.ms": min(500, args.session_ms // 3),
        "partition.assignment.strategy": args.assignor or "range",
    }


class Member:
    def __init__(self, args):
        self.args, self.processed = args, member.Processed()
        self.consumer = Consumer(config(args) | {"on_commit": self.committed_later})
        self.asked = False
        self.consumer.subscribe([args.topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost)

    def assigned(self, _, partitions):
        say("assigned", *(partition.partition for partition in partitions))

    def revoked(self, _, partitions):
        numbers = [partition.partition for partition in partitions]
        if self.args.commit == "processed":
            self.commit_now(self.offsets(numbers))
        self.processed.forget(numbers)
        say("revoked", *numbers)

    def lost(self, _, partitions):
        numbers = [partition.partition for partition in partitions]
        self.processed.forget(numbers)
        say("lost", *numbers)

    def partition(self, number, offset=NO_OFFSET):
        return TopicPartition(self.args.topic, int(number), int(offset))

    def offsets(self, among=None):
        return [self.partition(number, offset) for number, offset in self.processed.next.items()
                if among is None or number in among]

    def poll(self):
        try:
            messages = self.consumer.consume(BATCH_RECORDS, 0.1)
        except KafkaException as error:
            say("error", error.args[0].name())
            return False
        for message in messages:
            if message.error() is not None:
                say("error", message.error().name())
        read = [(message.partition(), message.offset()) for message in messages if message.error() is None]
        self.processed.take(read)
        return bool(read)

    def commit_now(self, offsets):
        if not offsets:
            return
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            say("failed", "commit", error.args[0].name())

    def commit_quietly(self):
        self.consumer.commit(offsets=self.offsets(), asynchronous=True)

    def committed_later(self, error, _):
        if self.asked:
            self.asked = False
            say(*(("done", "commit-async") if error is None else ("failed", "commit-async", error.name())))

    def command(self, name, *words):
        try:
            if name == "commit":
                self.consumer.commit(offsets=self.offsets(), asynchronous=False)
            elif name == "commit-async":
                self.asked = True
                self.consumer.commit(offsets=self.offsets(), asynchronous=True)
                return
            elif name == "committed":
                found = self.consumer.committed(self.consumer.assignment(), timeout=ANSWER_SECONDS)
                say("committed", *(f"{one.partition}:{one.offset}" for one in found if one.offset >= 0))
                return
            elif name == "seek":
                self.consumer.seek(self.partition(*words))
            elif name == "pause":
                self.consumer.pause([self.partition(word) for word in words])
            elif name == "resume":
                self.consumer.resume([self.partition(word) for word in words])
            else:
                raise SystemExit(f"no command {name}")
            say("done", name)
        except KafkaException as error:
            say("failed", name, error.args[0].name())

    def close(self):
        self.consumer.close()


if __name__ == "__main__":
    arguments = member.arguments()
    member.run(Member(arguments), arguments.commit)
