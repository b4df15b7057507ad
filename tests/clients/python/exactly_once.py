"""An idempotent producer of the proof of exactly once: librdkafka, by its Python binding confluent-kafka.

Standard input says line by line how many records may have been sent by now. The log gets a line for each record that
was acknowledged: its index. What the records are is said in tests/tests/exactly_once/workload.rs.
"""

import argparse
import os
import sys
import threading

from confluent_kafka import Producer

KEY_STEP = 7919
MASK = 0xFFFFFFFF


def ingress(key, partitions):
    """FNV-1a."""
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 & MASK
    return value % partitions


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "log"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("partitions", "keys", "producer", "records", "value-bytes"):
        parser.add_argument(f"--{name}", required=True, type=int)
    return parser.parse_args()


def main():
    args = arguments()
    log = os.open(args.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    producer = Producer({
        "bootstrap.servers": args.bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 20,
        "batch.num.messages": 200, "socket.timeout.ms": 10000, "request.timeout.ms": 10000,
        "message.timeout.ms": 0, "retry.backoff.ms": 50, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
        "topic.metadata.refresh.interval.ms": 2000,
    })
    names = [f"{'user' if key % 2 else 'vip'}-{key}".encode() for key in range(args.keys)]
    places = [ingress(name, args.partitions) for name in names]

    def delivered(index):
        def done(error, _):
            line = f"{index}\n" if error is None else f"failed {index}: {error}\n"
            os.write(log, line.encode())
        return done

    credit = threading.Semaphore(0)

    def take_credit():
        granted = 0
        for line in sys.stdin:
            if int(line) > granted:
                credit.release(int(line) - granted)
                granted = int(line)
        os._exit(3)

    threading.Thread(target=take_credit, daemon=True).start()
    for index in range(args.records):
        while not credit.acquire(blocking=False):
            producer.poll(0.01)
        key = (index * KEY_STEP + args.producer) % args.keys
        value = f"{args.producer}:{index}:".ljust(args.value_bytes, "x").encode()
        while True:
            try:
                producer.produce(
                    args.topic, key=names[key], value=value, partition=places[key], on_delivery=delivered(index),
                )
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    while producer.flush(1):
        pass
    # The lines are in the file; the end of the input would only race with the end of this program.
    os._exit(0)


if __name__ == "__main__":
    main()
