"""The little of ZooKeeper that Burrow asks for at its start: a session, folders that are there already, and a lock that nobody else wants.

Burrow wants ZooKeeper for the lock of its notifiers, and does not start without it, with or without notifiers.
"""

import socket
import struct
import threading

CREATE, EXISTS, GET_DATA, GET_CHILDREN, CLOSE = 1, 3, 4, 12, -11
SEQUENTIAL = 2
NODE_EXISTS = -110


def _read(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("the client went away")
        data += more
    return data


def _frame(sock):
    (length,) = struct.unpack(">i", _read(sock, 4))
    return _read(sock, length)


def _send(sock, body):
    sock.sendall(struct.pack(">i", len(body)) + body)


def _text(text):
    data = text.encode()
    return struct.pack(">i", len(data)) + data


def _serve(sock):
    locks = []
    stat = struct.pack(">qqqqiiiqiiq", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    try:
        _frame(sock)
        # Protocol, time-out in ms, session, password.
        _send(sock, struct.pack(">iiqi", 0, 30_000, 1, 16) + bytes(16))
        while True:
            request = _frame(sock)
            xid, operation = struct.unpack(">ii", request[:8])
            error, body = 0, b""
            if operation == CREATE:
                (length,) = struct.unpack(">i", request[8:12])
                path = request[12 : 12 + length].decode()
                (flags,) = struct.unpack(">i", request[-4:])
                if flags & SEQUENTIAL:
                    path = f"{path}{len(locks):010}"
                    locks.append(path.rsplit("/", 1)[1])
                    body = _text(path)
                else:
                    error = NODE_EXISTS
            elif operation == GET_CHILDREN:
                body = struct.pack(">i", len(locks)) + b"".join(map(_text, locks)) + stat
            elif operation == EXISTS:
                body = stat
            elif operation == GET_DATA:
                body = struct.pack(">i", 0) + stat
            _send(sock, struct.pack(">iqi", xid, 1, error) + body)
            if operation == CLOSE:
                return
    except (ConnectionError, OSError, struct.error):
        pass
    finally:
        sock.close()


def start():
    """Serves on a free port of the loopback address, for as long as the process lives. Answers the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
