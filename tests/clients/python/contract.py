"""What every program of the matrix does, for those in Python: arguments, the records, and how they are compared."""

import argparse
import sys
import time
from collections import namedtuple

RECORDS = 10_000
PARTITIONS = 3
LARGE_BYTES = 900 * 1024
BLOCK_BYTES = 1024 * 1024
SECONDS_MAX = 60

Record = namedtuple("Record", "partition key value headers timestamp")


def block():
    """Text that compresses to about a half, the same in every language."""
    text, state = bytearray(BLOCK_BYTES), 1
    for at in range(BLOCK_BYTES):
        state = state * 16807 % 2147483647
        text[at] = 97 + state % 16
    return bytes(text)


# What some clients cannot write: a record whose key and value are null (its value is empty then), and a header whose
# value is null (it is left out then).
NULL_PAIRS, NULL_HEADERS = "null-pairs", "null-headers"


def records(first_timestamp, without=()):
    text = block()
    for i in range(RECORDS):
        key = None if i % 7 == 0 else b"" if i % 7 == 1 else b"key-%d" % i
        length = LARGE_BYTES if i % 500 == 250 else 20 + i * 37 % 980
        start = i * 7919 % (BLOCK_BYTES - length)
        value = text[start : start + length]
        if length != LARGE_BYTES and i % 11 < 2:
            value = None if i % 11 == 0 and (key is not None or NULL_PAIRS not in without) else b""
        headers = [] if i % 5 == 0 else [
            ("n", b"%d" % i), ("repeated", b"first"), ("repeated", b"second-%d" % i), ("empty", b""), ("null", None),
        ]
        if NULL_HEADERS in without:
            headers = headers[:-1]
        yield Record(i % PARTITIONS, key, value, headers, first_timestamp + i)


def shown(value):
    return repr(value) if value is None or len(value) <= 60 else f"{value[:60]!r}... of {len(value)} bytes"


class Comparison:
    """Takes what a consumer reads, in the order of its partitions, and stops at the first difference."""

    def __init__(self, first_timestamp, without=()):
        self.expected = [[] for _ in range(PARTITIONS)]
        for record in records(first_timestamp, without):
            self.expected[record.partition].append(record)
        self.read = [0] * PARTITIONS

    def take(self, offset, record):
        at = self.read[record.partition]
        if offset != at:
            raise AssertionError(f"partition {record.partition}: offset {offset} came where {at} was due")
        if at >= len(self.expected[record.partition]):
            raise AssertionError(f"partition {record.partition}: more than {at} records")
        for field, wanted, got in zip(Record._fields, self.expected[record.partition][at], record):
            if wanted != got:
                wanted, got = (shown(x) if isinstance(x, bytes) else x for x in (wanted, got))
                raise AssertionError(f"partition {record.partition}, offset {offset}: {field} is {got}, not {wanted}")
        self.read[record.partition] += 1

    def complete(self):
        return all(count == len(wanted) for count, wanted in zip(self.read, self.expected))

    def demand_all(self, ends):
        if not self.complete():
            raise AssertionError(f"read {self.read} records of the partitions in {SECONDS_MAX} s")
        if list(ends) != self.read:
            raise AssertionError(f"the partitions end at {list(ends)}, not at {self.read}")


def demand(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


def eventually(sentence, check):
    """Metadata may be told a little after the answer: `check` has ten seconds to hold."""
    deadline = time.monotonic() + 10
    while not check():
        demand(time.monotonic() < deadline, sentence)
        time.sleep(0.1)


def main(create, produce, verify, admin):
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["produce", "verify", "roundtrip", "admin"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--compression", default="none")
    parser.add_argument("--first-timestamp", type=int, default=1_700_000_000_000)
    parser.add_argument("--without", nargs="*", default=[], choices=[NULL_PAIRS, NULL_HEADERS])
    args = parser.parse_args()
    try:
        if args.action in ("produce", "roundtrip"):
            create(args)
            produce(args)
        if args.action in ("verify", "roundtrip"):
            verify(args)
        if args.action == "admin":
            admin(args)
    except AssertionError as difference:
        sys.exit(str(difference))
