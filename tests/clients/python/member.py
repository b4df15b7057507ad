"""What the programs in Python that are members of a group do alike: arguments, commands, and what they say of themselves.

The lines of a member, here as in every other language, are described in tests/clients/README.md. `commit` is called with
the offsets that follow what was processed, never with what was only read: the proofs rest on it.
"""

import argparse
import os
import queue
import sys
import threading


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--protocol", default="classic", choices=["classic", "consumer"])
    parser.add_argument("--assignor", default="")
    parser.add_argument("--reset", default="earliest")
    parser.add_argument("--instance")
    parser.add_argument("--session-ms", type=int, default=30_000)
    parser.add_argument("--commit", default="none", choices=["none", "processed"])
    return parser.parse_args()


def say(*words):
    """One line in one write, so that a killed process leaves whole lines."""
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


class Processed:
    """Which record follows the last that was processed, for each partition that is owned."""

    def __init__(self):
        self.next = {}

    def take(self, messages):
        """Processes (partition, offset) pairs: says which, in runs without a gap."""
        runs = {}
        for partition, offset in messages:
            run = runs.setdefault(partition, [])
            if run and run[-1][1] + 1 == offset:
                run[-1][1] = offset
            else:
                run.append([offset, offset])
            self.next[partition] = offset + 1
        for partition, found in runs.items():
            for first, last in found:
                say("read", partition, first, last)

    def forget(self, partitions):
        for partition in partitions:
            self.next.pop(partition, None)


def read_commands(commands):
    for line in sys.stdin:
        commands.put(line.split())
    os._exit(0)  # whoever started this is gone


def run(member, commit):
    """`member` knows poll, close and a method for each command; `commit` is its argument of that name."""
    commands = queue.SimpleQueue()
    threading.Thread(target=read_commands, args=(commands,), daemon=True).start()
    say("ready")
    while True:
        while not commands.empty():
            name, *words = commands.get()
            if name == "close":
                member.close()
                say("closed")
                os._exit(0)
            member.command(name, *words)
        if member.poll() and commit == "processed":
            member.commit_quietly()
