"""Five groups, each with a story of its own: Ottla must judge each as Burrow's rules do, and Telegraf must read it."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

# A second each. Nothing is judged before, and everything must be as expected by then.
STORY_TICKS = 22
TICKS_MAX = 45
# Records that are there before anybody reads.
BEFORE = 1_000

# What is written to a group's topic with each tick.
WRITTEN = {"fine": 5, "behind": 10, "stuck": 5, "back": 5, "stopped": 5}
EXPECTED = {
    "fine": ("OK", "OK"),
    "behind": ("WARN", "WARN"),
    "stuck": ("ERR", "STALL"),
    "back": ("ERR", "REWIND"),
    "stopped": ("ERR", "STOP"),
}


def commits(group, tick):
    """The offset that a group commits with a tick, or none."""
    if group == "stopped":
        return 100 + tick if tick <= 10 else None
    if tick % 2:
        return None
    return {
        "fine": BEFORE + WRITTEN["fine"] * (tick + 1),
        "behind": 100 + tick,
        "stuck": 100,
        "back": (500 if tick < 16 else 100) + tick,
    }[group]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def judgement(base, cluster, group):
    """A group's status and that of its only partition."""
    status = get(f"{base}/v3/kafka/{cluster}/consumer/{group}/lag")["status"]
    partitions = status["partitions"]
    return status["status"], partitions[0]["status"] if len(partitions) == 1 else f"{len(partitions)} partitions"


def start_ottla(program, folder):
    """The broker, where clients connect, and the HTTP admin."""
    overrides = [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "ottla.admin.listener=127.0.0.1:0",
        f"log.dirs={folder}/data",
        "offsets.topic.num.partitions=3",
        "ottla.monitor.interval.ms=1000",
        "ottla.monitor.distance.ms=500",
        "ottla.monitor.name=here",
    ]
    command = [program, "server"] + [word for one in overrides for word in ("--override", one)]
    with open(f"{folder}/ottla.log", "w") as log:
        broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    for line in broker.stdout:
        if line.startswith("ready "):
            found = dict(word.split("=", 1) for word in line.split()[1:])
            return broker, found["kafka"], f"http://{found['admin'].removeprefix('http://')}"
    sys.exit("the broker did not start:\n" + pathlib.Path(f"{folder}/ottla.log").read_text()[-2_000:])


def tell_story(kafka, ours):
    """Lives all stories at once. Answers the judgements, as soon as they are what is expected, or at the end."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
    consumers = {
        group: Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
        for group in EXPECTED
    }
    began = time.monotonic()
    said = {}
    for tick in range(TICKS_MAX):
        time.sleep(max(0, began + tick - time.monotonic()))
        for group, count in WRITTEN.items():
            for _ in range(count):
                producer.produce(group, b"value", partition=0)
        producer.flush(10)
        for group, consumer in consumers.items():
            offset = commits(group, tick)
            if offset is not None:
                consumer.commit(offsets=[TopicPartition(group, 0, offset)], asynchronous=False)
        if tick >= STORY_TICKS:
            said = {group: judgement(ours, "here", group) for group in EXPECTED}
            if said == EXPECTED:
                break
    for consumer in consumers.values():
        consumer.close()
    return said


def gathered(telegraf, ours):
    """What Telegraf's input for Burrow got of Ottla: lines by measurement."""
    out = subprocess.run([telegraf, ours], capture_output=True, text=True, timeout=30)
    if out.returncode:
        return {"error": out.stderr}
    lines = {}
    for line in map(json.loads, out.stdout.splitlines()):
        lines.setdefault(line["measurement"], []).append(line)
    return lines


def check_telegraf(telegraf, ours, report):
    lines = gathered(telegraf, ours)
    report("Telegraf reads it", "error" not in lines, lines.get("error", ""))
    groups = {line["tags"]["group"]: line["fields"] for line in lines.get("burrow_group", [])}
    partitions = {line["tags"]["group"]: line["fields"] for line in lines.get("burrow_partition", [])}
    topics = {line["tags"]["topic"] for line in lines.get("burrow_topic", [])}
    for group, (status, of_partition) in EXPECTED.items():
        seen = (groups.get(group, {}).get("status"), partitions.get(group, {}).get("status"))
        report(f"Telegraf: {group}", seen == (status, of_partition) and group in topics, seen)
    lag = groups.get("stuck", {}).get("total_lag")
    report("Telegraf: records", isinstance(lag, int) and lag >= BEFORE - 100, lag)


def main():
    arguments = argparse.ArgumentParser()
    for name in ("--ottla", "--telegraf"):
        arguments.add_argument(name, required=True)
    arguments = arguments.parse_args()
    results = []

    def report(what, is_fine, detail=""):
        results.append(is_fine)
        print("ok  " if is_fine else "FAIL", what, "" if is_fine else detail, flush=True)

    with tempfile.TemporaryDirectory(prefix="ottla-lag.") as folder:
        broker, kafka, ours = start_ottla(arguments.ottla, folder)
        try:
            admin = AdminClient({"bootstrap.servers": kafka})
            for made in admin.create_topics([NewTopic(group, 1, 1) for group in EXPECTED]).values():
                made.result(10)
            producer = Producer({"bootstrap.servers": kafka})
            for group in EXPECTED:
                for _ in range(BEFORE):
                    producer.produce(group, b"value", partition=0)
            producer.flush(10)
            said = tell_story(kafka, ours)
            for group, expected in EXPECTED.items():
                report(f"{group}: {expected[1]}", said.get(group) == expected, said.get(group))
            check_telegraf(arguments.telegraf, ours, report)
        finally:
            broker.terminate()
            broker.wait(10)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
