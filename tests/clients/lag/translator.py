"""A listener in front of a broker that speaks one request more: ListOffsets 0, which Kafka 4 has dropped.

The release of Burrow that Debian has asks for the ends of logs with it. It is told the ends of logs by version 1;
everything else goes through as it came.
"""

import socket
import struct
import threading

LIST_OFFSETS = 2


def _read(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("the other side went away")
        data += more
    return data


def _frame(sock):
    (length,) = struct.unpack(">i", _read(sock, 4))
    return _read(sock, length)


def _send(sock, body):
    sock.sendall(struct.pack(">i", len(body)) + body)


class _Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def name(self):
        length = self.take(">h")
        start, self.at = self.at, self.at + length
        return struct.pack(">h", length) + self.data[start : self.at]


def _newer(request):
    """Version 1 leaves out how many offsets are wanted."""
    (client,) = struct.unpack_from(">h", request, 8)
    reader = _Reader(request, 10 + max(client, 0))
    out = request[:2] + struct.pack(">h", 1) + request[4 : reader.at]
    out += struct.pack(">i", reader.take(">i"))
    topics = reader.take(">i")
    out += struct.pack(">i", topics)
    for _ in range(topics):
        out += reader.name()
        partitions = reader.take(">i")
        out += struct.pack(">i", partitions)
        for _ in range(partitions):
            partition, timestamp, _ = reader.take(">iqi")
            out += struct.pack(">iq", partition, timestamp)
    return out


def _older(response):
    """Version 0 has a list of offsets in the place of a timestamp and an offset."""
    reader = _Reader(response, 4)
    out = response[:4]
    topics = reader.take(">i")
    out += struct.pack(">i", topics)
    for _ in range(topics):
        out += reader.name()
        partitions = reader.take(">i")
        out += struct.pack(">i", partitions)
        for _ in range(partitions):
            partition, error, _, offset = reader.take(">ihqq")
            out += struct.pack(">ihiq", partition, error, 1, offset)
    return out


def _serve(client, broker):
    translated = set()

    def answers():
        try:
            while True:
                response = _frame(broker)
                (correlation,) = struct.unpack_from(">i", response)
                if correlation in translated:
                    translated.discard(correlation)
                    response = _older(response)
                _send(client, response)
        except (OSError, struct.error):
            client.close()

    threading.Thread(target=answers, daemon=True).start()
    try:
        while True:
            request = _frame(client)
            api, version, correlation = struct.unpack_from(">hhi", request)
            if (api, version) == (LIST_OFFSETS, 0):
                translated.add(correlation)
                request = _newer(request)
            _send(broker, request)
    except (OSError, struct.error):
        broker.close()


def start(listener, broker_port):
    """Serves the bound socket, for as long as the process lives."""

    def accept():
        while True:
            client, _ = listener.accept()
            broker = socket.create_connection(("127.0.0.1", broker_port))
            threading.Thread(target=_serve, args=(client, broker), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
