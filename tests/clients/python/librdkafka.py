"""librdkafka, by its Python binding confluent-kafka."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType,
)

from contract import PARTITIONS, SECONDS_MAX, Comparison, Record, demand, eventually, main, records


def result(futures):
    (future,) = futures.values()
    return future.result(SECONDS_MAX)


def refused(futures, code):
    try:
        result(futures)
    except KafkaException as error:
        return error.args[0].code() == code
    return False


def create(args):
    admin = AdminClient({"bootstrap.servers": args.bootstrap})
    result(admin.create_topics([NewTopic(args.topic, PARTITIONS, 1)]))


def produce(args):
    producer = Producer({
        "bootstrap.servers": args.bootstrap, "compression.type": args.compression, "enable.idempotence": True,
        "acks": "all", "queue.buffering.max.kbytes": 64 * 1024, "linger.ms": 5,
    })
    failures, next_offset = [], [0] * PARTITIONS

    def delivered(error, message):
        if error is not None:
            failures.append(str(error))
        elif message.offset() != next_offset[message.partition()]:
            failures.append(f"acknowledged as offset {message.offset()}, not {next_offset[message.partition()]}")
        else:
            next_offset[message.partition()] += 1

    for record in records(args.first_timestamp, args.without):
        while True:
            try:
                producer.produce(
                    args.topic, key=record.key, value=record.value, partition=record.partition,
                    headers=record.headers, timestamp=record.timestamp, on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(SECONDS_MAX)
    demand(left == 0, f"{left} records were not acknowledged within {SECONDS_MAX} s")
    demand(not failures, f"{len(failures)} records failed, the first: {failures[:1]}")


def verify(args):
    # The binding demands a group's name; nothing is asked of the group, for all is assigned and nothing committed.
    consumer = Consumer({
        "bootstrap.servers": args.bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "auto.offset.reset": "error", "check.crcs": True,
    })
    partitions = [TopicPartition(args.topic, partition, 0) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    comparison, deadline = Comparison(args.first_timestamp, args.without), time.monotonic() + SECONDS_MAX
    while not comparison.complete() and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.5):
            demand(message.error() is None, str(message.error()))
            comparison.take(message.offset(), Record(
                message.partition(), message.key(), message.value(), message.headers() or [], message.timestamp()[1],
            ))
    comparison.demand_all(consumer.get_watermark_offsets(partition, SECONDS_MAX)[1] for partition in partitions)
    consumer.close()


def admin(args):
    client, topic = AdminClient({"bootstrap.servers": args.bootstrap}), args.topic
    resource = lambda *entries: ConfigResource(ResourceType.TOPIC, topic, incremental_configs=list(entries))
    entry = lambda name, value, how=AlterConfigOpType.SET: ConfigEntry(name, value, incremental_operation=how)
    retention = lambda: result(client.describe_configs([resource()]))["retention.ms"].value
    listed = lambda: topic in client.list_topics(timeout=SECONDS_MAX).topics
    partitions = lambda: len(client.list_topics(topic, SECONDS_MAX).topics[topic].partitions)

    demand(len(client.list_topics(timeout=SECONDS_MAX).brokers) >= 1, "no broker is listed")
    new = NewTopic(topic, 3, 1, config={"retention.ms": "3600000"})
    result(client.create_topics([new], validate_only=True))
    demand(not listed(), "validate_only created the topic")
    result(client.create_topics([new]))
    eventually("the new topic is not listed", listed)
    demand(refused(client.create_topics([new]), KafkaError.TOPIC_ALREADY_EXISTS), "the topic could be created twice")
    demand(partitions() == 3, "the topic has not 3 partitions")
    demand(retention() == "3600000", "retention.ms was not kept at creation")
    result(client.incremental_alter_configs([resource(entry("retention.ms", "7200000"))]))
    eventually("retention.ms was not altered", lambda: retention() == "7200000")
    bad = client.incremental_alter_configs([resource(entry("retention.ms", "soon"))])
    demand(refused(bad, KafkaError.INVALID_CONFIG), "a retention.ms of `soon` was not refused")
    result(client.incremental_alter_configs([resource(entry("retention.ms", None, AlterConfigOpType.DELETE))]))
    eventually("retention.ms is not the default again", lambda: retention() == "604800000")
    result(client.create_partitions([NewPartitions(topic, 5)]))
    eventually("the topic has not 5 partitions", lambda: partitions() == 5)
    fewer = client.create_partitions([NewPartitions(topic, 4)])
    demand(refused(fewer, KafkaError.INVALID_PARTITIONS), "partitions could be taken away")
    result(client.delete_topics([topic]))
    eventually("the deleted topic is still listed", lambda: not listed())
    gone = client.delete_topics([topic])
    demand(refused(gone, KafkaError.UNKNOWN_TOPIC_OR_PART), "an unknown topic could be deleted")


if __name__ == "__main__":
    main(create, produce, verify, admin)
