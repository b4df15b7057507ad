//! Keys of sockets, requests and quotas.

use super::row::{connection_overrides, honoured, refused, stored};
use crate::config::key::Check::{Any, AtLeast, Custom};
use crate::config::key::Key;
use crate::config::key::Type::{Class, Int, List, Long, String};
use crate::config::key::Update::{ClusterWide, ReadOnly};

#[rustfmt::skip] // a table: one key a line
pub(super) static KEYS: &[Key] = &[
    honoured("listeners", List, Some("PLAINTEXT://127.0.0.1:9092"), Any, ReadOnly, "Addresses on which the broker accepts clients, as NAME://HOST:PORT, separated by commas. Port 0 picks a free one."),
    honoured("advertised.listeners", List, None, Any, ReadOnly, "Addresses that clients are told to connect to, one for each listener that clients use. Without a value, the listeners themselves."),
    honoured("listener.security.protocol.map", String, Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"), Any, ReadOnly, "Which protocol each listener name speaks. Only PLAINTEXT is built."),
    stored("inter.broker.listener.name", String, None, Any, ReadOnly, "The listener that brokers use among themselves. Without a value, the first one."),
    stored("early.start.listeners", List, None, Any, ReadOnly, "Listeners that open before the broker has joined its cluster."),
    honoured("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), ReadOnly, "The largest request that is read from a socket; a client that announces more is disconnected."),
    honoured("socket.send.buffer.bytes", Int, Some("102400"), AtLeast(-1), ReadOnly, "SO_SNDBUF of client sockets; -1 leaves it to the operating system."),
    honoured("socket.receive.buffer.bytes", Int, Some("102400"), AtLeast(-1), ReadOnly, "SO_RCVBUF of client sockets; -1 leaves it to the operating system."),
    honoured("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), ReadOnly, "How many connections the operating system may hold before they are accepted."),
    stored("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, ReadOnly, "First timeout for connections that the broker opens itself."),
    stored("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, ReadOnly, "Upper end of the growing timeout for connections that the broker opens itself."),
    honoured("queued.max.request.bytes", Long, Some("268435456"), AtLeast(-1), ReadOnly, "Memory for requests that are being received, for all connections together, beyond 64 KiB each. -1 takes away the bound; Kafka's own default is -1."),
    stored("queued.max.requests", Int, Some("500"), AtLeast(1), ReadOnly, "Requests that may wait for a handler thread. Ottla has no such queue: a connection reads on only when its request was handled."),
    honoured("max.connections", Int, Some("2147483647"), AtLeast(1), ReadOnly, "Connections that may be open at once; who comes later waits until one ends."),
    honoured("max.connections.per.ip", Int, Some("2147483647"), AtLeast(0), ClusterWide, "Connections that one address may have open at once; further ones are closed."),
    honoured("max.connections.per.ip.overrides", String, Some(""), Custom(connection_overrides), ClusterWide, "Exceptions from max.connections.per.ip, as IP_ADDRESS:CONNECTIONS."),
    stored("max.connection.creation.rate", Int, Some("2147483647"), AtLeast(0), ClusterWide, "New connections that the broker accepts in a second."),
    honoured("connections.max.idle.ms", Long, Some("600000"), AtLeast(-1), ReadOnly, "A client that sends no whole request and takes no answer for so long is disconnected. -1 never disconnects."),
    stored("connections.max.reauth.ms", Long, Some("0"), Any, ReadOnly, "How long a SASL session lasts before it must authenticate again."),
    stored("connection.failed.authentication.delay.ms", Int, Some("100"), AtLeast(0), ReadOnly, "How long a failed authentication waits for its answer."),
    stored("num.network.threads", Int, Some("3"), AtLeast(1), ClusterWide, "Threads that serve sockets. Ottla takes one thread for each processor."),
    stored("num.io.threads", Int, Some("8"), AtLeast(1), ClusterWide, "Threads that handle requests. Ottla handles them where they are read."),
    stored("request.timeout.ms", Int, Some("30000"), Any, ReadOnly, "How long the broker waits for an answer to a request of its own."),
    stored("background.threads", Int, Some("10"), AtLeast(1), ClusterWide, "Threads for background work."),
    honoured("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024), ReadOnly, "The most that one fetch answer holds, whatever the client asks for."),
    honoured("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), ReadOnly, "Incremental fetch sessions that the broker remembers."),
    honoured("max.request.partition.size.limit", Int, Some("2000"), AtLeast(1), ReadOnly, "Partitions in one answer of DescribeTopicPartitions."),
    stored("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, "How often completed fetches are cleared from Kafka's purgatory. Ottla has none to clear."),
    stored("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, "How often completed produce requests are cleared from Kafka's purgatory. Ottla has none to clear."),
    stored("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, ReadOnly, "How often completed DeleteRecords requests are cleared from Kafka's purgatory. Ottla has none to clear."),
    stored("share.fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, "How often completed share fetches are cleared from Kafka's purgatory. Ottla has none to clear."),
    stored("telemetry.max.bytes", Int, Some("1048576"), AtLeast(1), ReadOnly, "The largest telemetry message that a client may push."),
    refused("client.quota.callback.class", Class, None, Any, ReadOnly, "A Java class that decides quotas."),
    stored("quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, "Samples over which client quotas are measured."),
    stored("quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, "Length of one sample of client quotas."),
    stored("alter.log.dirs.replication.quota.window.num", Int, Some("11"), AtLeast(1), ReadOnly, "Samples over which moves between log directories are throttled."),
    stored("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), AtLeast(1), ReadOnly, "Length of one sample of the throttle between log directories."),
];
