"""A member of a group: kafka-python."""

import logging

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

import member
from member import say

ASSIGNORS = {
    "": RangePartitionAssignor, "range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor,
}


class Member(ConsumerRebalanceListener):
    def __init__(self, args):
        self.args, self.processed = args, member.Processed()
        static = {"group_instance_id": args.instance} if args.instance else {}
        self.consumer = KafkaConsumer(
            bootstrap_servers=args.bootstrap, group_id=args.group, enable_auto_commit=False,
            auto_offset_reset=args.reset, session_timeout_ms=args.session_ms,
            heartbeat_interval_ms=min(500, args.session_ms // 3), fetch_max_wait_ms=100,
            partition_assignment_strategy=[ASSIGNORS[args.assignor]], **static,
        )
        self.consumer.subscribe([args.topic], listener=self)

    def on_partitions_assigned(self, assigned):
        say("assigned", *sorted(partition.partition for partition in assigned))

    def on_partitions_revoked(self, revoked):
        numbers = sorted(partition.partition for partition in revoked)
        if self.args.commit == "processed":
            self.commit_quietly()
        self.processed.forget(numbers)
        say("revoked", *numbers)

    def on_partitions_lost(self, lost):
        numbers = sorted(partition.partition for partition in lost)
        self.processed.forget(numbers)
        say("lost", *numbers)

    def partition(self, number):
        return TopicPartition(self.args.topic, int(number))

    def offsets(self):
        return {self.partition(number): OffsetAndMetadata(offset, "", -1) for number, offset in self.processed.next.items()}

    def poll(self):
        try:
            batches = self.consumer.poll(timeout_ms=100)
        except KafkaError as error:
            say("error", type(error).__name__)
            return False
        self.processed.take([(message.partition, message.offset) for batch in batches.values() for message in batch])
        return bool(batches)

    def commit_quietly(self):
        if self.processed.next:
            try:
                self.consumer.commit(self.offsets())
            except KafkaError as error:
                say("failed", "commit", type(error).__name__)

    def committed_later(self, _, answer):
        if isinstance(answer, Exception):
            say("failed", "commit-async", type(answer).__name__)
        else:
            say("done", "commit-async")

    def command(self, name, *words):
        try:
            if name == "commit":
                self.consumer.commit(self.offsets())
            elif name == "commit-async":
                self.consumer.commit_async(self.offsets(), callback=self.committed_later)
                return
            elif name == "committed":
                found = {one.partition: self.consumer.committed(one) for one in self.consumer.assignment()}
                say("committed", *(f"{number}:{offset}" for number, offset in found.items() if offset is not None))
                return
            elif name == "seek":
                self.consumer.seek(self.partition(words[0]), int(words[1]))
            elif name == "pause":
                self.consumer.pause(*(self.partition(word) for word in words))
            elif name == "resume":
                self.consumer.resume(*(self.partition(word) for word in words))
            else:
                raise SystemExit(f"no command {name}")
            say("done", name)
        except KafkaError as error:
            say("failed", name, type(error).__name__)

    def close(self):
        self.consumer.close(autocommit=False)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    arguments = member.arguments()
    member.run(Member(arguments), arguments.commit)
