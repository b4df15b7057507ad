"""kafka-python, which speaks the protocol in Python alone."""

import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import InvalidPartitionsError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from contract import NULL_HEADERS, NULL_PAIRS, PARTITIONS, SECONDS_MAX, Comparison, Record, demand, eventually, main, records

WITHOUT = (NULL_PAIRS, NULL_HEADERS)


def refused(error, call, *arguments):
    try:
        call(*arguments)
    except error:
        return True
    return False


def create(args):
    admin = KafkaAdminClient(bootstrap_servers=args.bootstrap)
    admin.create_topics({args.topic: {"num_partitions": PARTITIONS, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()


def produce(args):
    producer = KafkaProducer(
        bootstrap_servers=args.bootstrap, acks="all", enable_idempotence=True, linger_ms=5,
        compression_type=None if args.compression == "none" else args.compression,
        batch_size=64 * 1024, max_request_size=2 * 1024 * 1024,
    )
    sent = [
        producer.send(
            args.topic, key=record.key, value=record.value, partition=record.partition, headers=record.headers,
            timestamp_ms=record.timestamp,
        )
        for record in records(args.first_timestamp, WITHOUT)
    ]
    producer.flush(SECONDS_MAX)
    next_offset = [0] * PARTITIONS
    for future in sent:
        metadata = future.get(SECONDS_MAX)
        wanted = next_offset[metadata.partition]
        demand(metadata.offset == wanted, f"acknowledged as offset {metadata.offset}, not {wanted}")
        next_offset[metadata.partition] += 1
    producer.close()


def verify(args):
    consumer = KafkaConsumer(
        bootstrap_servers=args.bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="none",
        check_crcs=True,
    )
    partitions = [TopicPartition(args.topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    comparison, deadline = Comparison(args.first_timestamp, WITHOUT), time.monotonic() + SECONDS_MAX
    while not comparison.complete() and time.monotonic() < deadline:
        for messages in consumer.poll(500).values():
            for message in messages:
                comparison.take(message.offset, Record(
                    message.partition, message.key, message.value, list(message.headers), message.timestamp,
                ))
    ends = consumer.end_offsets(partitions)
    comparison.demand_all(ends[partition] for partition in partitions)
    consumer.close()


def admin(args):
    client, topic = KafkaAdminClient(bootstrap_servers=args.bootstrap), args.topic
    resource = lambda configs=None: [ConfigResource(ConfigResourceType.TOPIC, topic, configs)]
    listed = lambda: topic in client.list_topics()
    partitions = lambda: len(client.describe_topics([topic])[0]["partitions"])

    def retention():
        configs = client.describe_configs(resource(), config_filter="all")
        return configs["topic"][topic]["retention.ms"]["value"]

    def alter(how, value, incremental):
        answer = client.alter_configs(resource({"retention.ms": (how, value)}), incremental=incremental)
        return answer["topic"][topic]

    demand(len(client.describe_cluster()["brokers"]) >= 1, "no broker is listed")
    new = {topic: {"num_partitions": 3, "replication_factor": 1, "configs": {"retention.ms": "3600000"}}}
    client.create_topics(new, validate_only=True)
    demand(not listed(), "validate_only created the topic")
    client.create_topics(new)
    eventually("the new topic is not listed", listed)
    demand(refused(TopicAlreadyExistsError, client.create_topics, new), "the topic could be created twice")
    demand(partitions() == 3, "the topic has not 3 partitions")
    demand(retention() == "3600000", "retention.ms was not kept at creation")
    demand(alter(AlterConfigOp.SET, "7200000", incremental=True) == "OK", "retention.ms could not be altered")
    eventually("retention.ms was not altered", lambda: retention() == "7200000")
    demand(alter(AlterConfigOp.SET, "8200000", incremental=False) == "OK", "the older AlterConfigs was refused")
    eventually("retention.ms was not altered by the older request", lambda: retention() == "8200000")
    demand("InvalidConfig" in alter(AlterConfigOp.SET, "soon", incremental=True), "a retention.ms of `soon` was not refused")
    demand(alter(AlterConfigOp.DELETE, None, incremental=True) == "OK", "retention.ms could not be reset")
    eventually("retention.ms is not the default again", lambda: retention() == "604800000")
    client.create_partitions({topic: 5})
    eventually("the topic has not 5 partitions", lambda: partitions() == 5)
    demand(refused(InvalidPartitionsError, client.create_partitions, {topic: 4}), "partitions could be taken away")
    client.delete_topics([topic])
    eventually("the deleted topic is still listed", lambda: not listed())
    demand(refused(UnknownTopicOrPartitionError, client.delete_topics, [topic]), "an unknown topic could be deleted")
    client.close()


if __name__ == "__main__":
    main(create, produce, verify, admin)
