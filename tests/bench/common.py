"""What the benchmarks share: a broker under test, what the kernel says of its process, medians, and Markdown tables.

Every benchmark compares variants in one run: `alternately` measures each once to warm up and then RUNS times, turning
the order round each time, so that what drifts on the machine falls on all of them alike.
"""

import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

READY_SECONDS_MAX = 30
RUN_SECONDS_MAX = 600
# What a broker still does for the records of a run is theirs.
SETTLE_SECONDS = 1
# A deleted topic gives its memory back at once: pages that the system must find anew cost more than a broker does.
TOPIC_CONFIGS = {"file.delete.delay.ms": "0"}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """The processor time of a process so far, user and kernel, all threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def free_port_pair():
    """A port that is free, and so is the next, which Kafka's controller takes."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            try:
                second.bind(("127.0.0.1", first.getsockname()[1] + 1))
            except (OSError, OverflowError):
                continue
            return first.getsockname()[1]
    sys.exit("no two ports in a row are free")


class Ottla:
    """One broker with its data in `folder`. Its log goes to FOLDER/ottla.log."""

    name = "Ottla"

    def __init__(self, program, folder, **overrides):
        self.program = program
        self.log = open(os.path.join(folder, "ottla.log"), "w")
        settings = {"listeners": "PLAINTEXT://127.0.0.1:0", "ottla.admin.listener": "127.0.0.1:0",
                    "log.dirs": f"{folder}/ottla-data", **overrides}
        command = [program, "server"]
        for key, value in settings.items():
            command += ["--override", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        found = re.match(r"ready kafka=(\S+) admin=(\S+)", self.process.stdout.readline())
        if not found:
            self.stop()
            sys.exit("ottla server ended without a line `ready`")
        self.bootstrap, self.admin = found.groups()
        self.pid = self.process.pid

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(READY_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def arguments(self, *words):
        return [self.program, *words, "--bootstrap-server", self.bootstrap]

    def run(self, *words):
        """Runs a command of the program against this broker; returns what it prints."""
        return output_of(self.arguments(*words))

    def create(self, topic, partitions, configs=None):
        wanted = TOPIC_CONFIGS | (configs or {})
        pairs = [word for key, value in wanted.items() for word in ("--config", f"{key}={value}")]
        self.run("topic", "create", topic, "--partitions", str(partitions), *pairs)

    def delete(self, topic):
        self.run("topic", "delete", topic)
        time.sleep(SETTLE_SECONDS)

    def produce(self, topic, *words):
        """`ottla bench produce`, with the broker's CPU per record counted from outside: it may end after the client."""
        before = cpu_seconds(self.pid)
        said = json.loads(self.run("bench", "produce", topic, *words, "--output", "json"))
        time.sleep(SETTLE_SECONDS)
        said["cpu_us"] = (cpu_seconds(self.pid) - before) * 1e6 / said["records"]
        return said

    def request(self, method, path, body=None):
        """One request to the HTTP admin; returns the answer as text, and ends the program if it is an error."""
        connection = http.client.HTTPConnection(self.admin, timeout=READY_SECONDS_MAX)
        headers = {"content-type": "application/json"} if isinstance(body, str) else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text}")
        return text

    def metric(self, name, **labels):
        """The sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.request("GET", "/metrics").splitlines():
            found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
            if found and found.group(1) in (name, f"{name}_total"):
                has = dict(re.findall(r'(\w+)="([^"]*)"', found.group(2) or ""))
                if all(has.get(key) == value for key, value in labels.items()):
                    total += float(found.group(3))
        return total


KAFKA_HELP = "the tool that starts Apache Kafka; $KAFKA_REFERENCE"


class Kafka:
    """Apache Kafka with its data in `folder`, by a tool that knows `start --port P --dir D --clean --set KEY=VALUE`, which
    prints `(pid N)` once Kafka serves, and `stop --dir D`."""

    name = "Kafka"

    def __init__(self, program, folder, **overrides):
        self.program, self.folder = program, os.path.join(folder, "kafka")
        port = free_port_pair()
        settings = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
        with open(os.path.join(folder, "kafka.out"), "w+") as out:
            # A file, not a pipe: the broker that it leaves behind would hold a pipe open.
            subprocess.run([program, "start", "--port", str(port), "--dir", self.folder, "--clean", *settings],
                           check=True, stdout=out)
            out.seek(0)
            self.pid = int(re.search(r"\(pid (\d+)\)", out.read()).group(1))
        self.bootstrap = f"127.0.0.1:{port}"

    def stop(self):
        subprocess.run([self.program, "stop", "--dir", self.folder], stdout=subprocess.DEVNULL, check=False)


def prepared_jars():
    """The classpath that tests/clients/prepare names, once it has collected what it names."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients/prepare")
    return output_of(["bash", "-c", 'source "$1" >&2 && printf %s "$jars"', "bash", script])


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} … failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def limit(program, record_bytes, mib):
    """What the machine itself needs for a record of that size, in µs of CPU: to take it in, and to give it out."""
    said = json.loads(output_of([program, "bench", "limit", "--record-size", str(record_bytes), "--mib", str(mib),
                                 "--output", "json"]))
    return {"in": said["receive_crc_write"]["cpu_us_per_record"], "out": said["sendfile"]["cpu_us_per_record"]}


def alternately(variants, runs, measure, title=""):
    """Calls `measure(variant, number)` for each variant in turn, and returns {variant: {figure: median}}.
    Run 0 of each warms up and does not count."""
    results = {variant: [] for variant in variants}
    for number in range(runs + 1):
        for variant in variants if number % 2 == 0 else variants[::-1]:
            result = measure(variant, number)
            shown = ", ".join(f"{key} {value:,.2f}" for key, value in result.items())
            print(f"{title}{variant}, run {number}: {shown}", file=sys.stderr, flush=True)
            if number > 0:
                results[variant].append(result)
    return {variant: medians(all_of_it) for variant, all_of_it in results.items()}


def medians(results):
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def ratio(value, reference):
    return f"{value / max(reference, 1e-9):.2f}x"


def heading(*cells):
    print(f"| {' | '.join(cells)} |")
    print("|---" * len(cells) + "|")


def row(*cells):
    print(f"| {' | '.join(cells)} |", flush=True)


def stop_on_signals():
    """So that brokers are stopped then too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
