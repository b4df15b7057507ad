"""Members of groups as processes, which whoever starts them directs by lines and whose lines are kept with their times.

`group` and `groups` stand on it. What a member says becomes events in the order in which it was said; what it owns
follows from its `assigned`, `revoked` and `lost`.
"""

import os
import signal
import subprocess
import threading
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
WAIT_SECONDS_MAX = 30
LAST_WORDS_SECONDS = 1

Event = namedtuple("Event", "at word words")


def commands():
    """How the member of each client is started, by the places that `prepare` exports."""
    python, jars, franz = (os.environ[name] for name in ("python", "jars", "franz"))
    return {
        "librdkafka": [python, f"{HERE}/librdkafka_member.py"],
        "kafka-python": [python, f"{HERE}/kafka_python_member.py"],
        "java": ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", jars, "clients.Member"],
        "franz-go": [franz, "member"],
        "kafkajs": ["node", f"{HERE}/../node/member.js"],
    }


class Difference(Exception):
    """What a test finds that should not be so."""


class Member:
    """One process. `wait` for what it should say; `kill` ends it as a crash does."""

    def __init__(self, name, client, bootstrap, topic, group, **options):
        self.name, self.client, self.events, self.changed = name, client, [], threading.Condition()
        words = ["--bootstrap", bootstrap, "--topic", topic, "--group", group]
        for key, value in options.items():
            if value:
                words += [f"--{key.replace('_', '-')}", str(value)]
        self.process = subprocess.Popen(
            commands()[client] + words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.began, self.ended, self.complaints = time.monotonic(), None, []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._complain, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            word, *words = line.decode(errors="replace").split() or ["?"]
            with self.changed:
                self.events.append(Event(time.monotonic(), word, words))
                self.changed.notify_all()
        self.process.wait()
        with self.changed:
            self.ended = time.monotonic()
            self.changed.notify_all()

    def _complain(self):
        for line in self.process.stderr:
            self.complaints = (self.complaints + [line.decode(errors="replace").rstrip()])[-8:]

    def wait(self, what, check, seconds=WAIT_SECONDS_MAX):
        """Until `check()` is true; its value."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (found := check()):
                left = deadline - time.monotonic()
                over = self.ended and time.monotonic() - self.ended > LAST_WORDS_SECONDS
                if left <= 0 or over:
                    why = "it ended" if over else f"not within {seconds} s"
                    raise Difference(f"{self.name} ({self.client}): no {what}: {why}; it said {self.tail()}")
                self.changed.wait(min(left, 0.1))
        return found

    def tail(self):
        said = [f"{event.word} {' '.join(event.words)}".strip() for event in self.events[-8:]]
        return "; ".join(said + self.complaints) or "nothing"

    def mark(self):
        """A place in the events, for `since`."""
        return len(self.events)

    def since(self, mark, *words):
        return [event for event in self.events[mark:] if event.word in words]

    def owned(self, until=None):
        mine = set()
        for event in list(self.events):
            if until is not None and event.at > until:
                break
            numbers = set(map(int, event.words)) if event.word in ("assigned", "revoked", "lost") else set()
            mine = mine | numbers if event.word == "assigned" else mine - numbers
        return mine

    def read(self, mark=0):
        """The offsets that it processed since: {partition: [offset, …]} in order."""
        found = {}
        for event in self.since(mark, "read"):
            partition, first, last = map(int, event.words)
            found.setdefault(partition, []).extend(range(first, last + 1))
        return found

    def tell(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        self.process.stdin.flush()

    def ask(self, *words):
        """A command, and its answer: the words behind it."""
        mark, name = self.mark(), words[0]
        self.tell(*words)

        def answered():
            for event in self.since(mark, "done", "failed", "committed", "closed"):
                if event.word == "committed" and name == "committed":
                    return event
                if event.word == "closed" and name == "close" or event.words[:1] == [name]:
                    return event
            return None

        answer = self.wait(f"answer to {name}", answered)
        if answer.word == "failed":
            raise Difference(f"{self.name} ({self.client}): {name} failed: {' '.join(answer.words[1:])}")
        return answer.words

    def committed(self):
        return {int(partition): int(offset) for partition, offset in (word.split(":") for word in self.ask("committed"))}

    def close(self):
        self.ask("close")
        self.wait("end", lambda: self.ended)

    def kill(self):
        """A crash: no word to the broker."""
        if self.ended is None:
            self.process.send_signal(signal.SIGKILL)
            self.wait("end", lambda: self.ended)
