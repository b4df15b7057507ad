package clients;

import static clients.Contract.eventually;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.GroupsCommand;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/**
 * Apache's kafka-consumer-groups against two groups with a member, one of each protocol, and one without. Prints each
 * command and what it said, its lines sorted and without what differs from run to run; console/run compares it with what
 * was said of Kafka.
 */
public final class ConsumerGroups {
    private static final int PARTITIONS = 3;
    private static final int RECORDS = 10;
    private static final long OLD_MS = 2 * 3600 * 1000;

    private final String bootstrap;
    private final String topic;
    private final Path work;

    private ConsumerGroups(String bootstrap, String topic, Path work) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.work = work;
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> named = new HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            named.put(words[i], words[i + 1]);
        }
        Exit.setExitProcedure((code, message) -> {
            throw new Ended();
        });
        try {
            new ConsumerGroups(named.get("--bootstrap"), named.get("--topic"), Path.of(named.get("--work"))).run();
        } catch (Contract.Difference difference) {
            System.err.println(difference.getMessage());
            Runtime.getRuntime().halt(1);
        }
        Runtime.getRuntime().halt(0);
    }

    /** A tool that would have ended the process. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    /** A member that polls until it is closed. */
    private final class Live implements AutoCloseable {
        private final AtomicBoolean ends = new AtomicBoolean();
        private final Thread thread;

        Live(String protocol) {
            thread = new Thread(() -> {
                Map<String, Object> config = Map.of(
                    "bootstrap.servers", bootstrap, "group.id", group(protocol), "group.protocol", protocol,
                    "client.id", "member", "auto.offset.reset", "earliest", "enable.auto.commit", false);
                try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    consumer.subscribe(List.of(topic));
                    while (!ends.get()) {
                        if (!consumer.poll(Duration.ofMillis(50)).isEmpty()) {
                            consumer.commitSync();
                        }
                    }
                }
            });
            thread.start();
        }

        @Override
        public void close() throws InterruptedException {
            ends.set(true);
            thread.join();
        }
    }

    private String group(String name) {
        return topic + "-" + name;
    }

    private void prepare(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        long now = System.currentTimeMillis();
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < PARTITIONS * RECORDS; i++) {
                long stamp = i < PARTITIONS * RECORDS / 2 ? now - OLD_MS : now;
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, stamp, null, new byte[10])).get();
            }
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            offsets.put(new TopicPartition(topic, partition), new OffsetAndMetadata(partition + 3));
        }
        admin.alterConsumerGroupOffsets(group("empty"), offsets).all().get();
    }

    private boolean settled(Admin admin, String group) throws Exception {
        var description = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        return description.groupState().toString().equals("Stable") && committed.size() == PARTITIONS
            && committed.values().stream().allMatch(offset -> offset.offset() == RECORDS);
    }

    private void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            prepare(admin);
            try (Live classic = new Live("classic"); Live consumer = new Live("consumer")) {
                for (String protocol : List.of("classic", "consumer")) {
                    eventually("the group " + protocol + " does not settle", () -> {
                        try {
                            return settled(admin, group(protocol));
                        } catch (java.util.concurrent.ExecutionException notYet) {
                            return false;
                        }
                    });
                }
                lists();
                describes();
                refuses();
            }
            resets();
            deletes();
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    private void lists() {
        tool("--list");
        tool("--list", "--state");
        tool("--list", "--state", "Empty");
        tool("--list", "--state", "Stable, Assigning");
        tool("--list", "--type");
        tool("--list", "--type", "consumer");
        tool("--list", "--type", "classic", "--state");
        say("kafka-groups --list", () -> GroupsCommand.main(new String[] {"--bootstrap-server", bootstrap, "--list"}));
    }

    private void describes() {
        for (String name : List.of("classic", "consumer", "empty", "unknown")) {
            tool("--describe", "--group", group(name));
            tool("--describe", "--offsets", "--verbose", "--group", group(name));
            tool("--describe", "--members", "--group", group(name));
            tool("--describe", "--members", "--verbose", "--group", group(name));
            tool("--describe", "--state", "--group", group(name));
            tool("--describe", "--state", "--verbose", "--group", group(name));
        }
        tool("--describe", "--group", group("classic"), "--group", group("empty"));
        tool("--describe", "--state", "--all-groups");
    }

    /** What is asked of a group with members. */
    private void refuses() {
        for (String name : List.of("classic", "consumer")) {
            tool("--reset-offsets", "--to-earliest", "--execute", "--topic", topic, "--group", group(name));
            tool("--delete-offsets", "--topic", topic, "--group", group(name));
            tool("--delete", "--group", group(name));
        }
    }

    private void reset(String... how) {
        String[] words = Stream.concat(Stream.of("--reset-offsets", "--group", group("empty")), Arrays.stream(how)).toArray(String[]::new);
        tool(words);
    }

    private void resets() throws Exception {
        String hourAgo = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS").withZone(ZoneOffset.UTC)
            .format(Instant.now().minusSeconds(3600));
        reset("--to-latest", "--topic", topic);
        reset("--to-latest", "--topic", topic, "--dry-run");
        tool("--describe", "--group", group("empty"));
        reset("--to-latest", "--topic", topic, "--execute");
        tool("--describe", "--group", group("empty"));
        reset("--to-earliest", "--topic", topic + ":0,2", "--execute");
        reset("--to-current", "--all-topics", "--execute");
        reset("--to-offset", "4", "--topic", topic + ":1", "--execute");
        reset("--to-offset", "400", "--topic", topic + ":1", "--dry-run");
        reset("--shift-by", "3", "--all-topics", "--execute");
        reset("--shift-by", "-5", "--all-topics", "--execute");
        reset("--shift-by", "100", "--all-topics", "--dry-run");
        reset("--by-duration", "PT1H", "--all-topics", "--execute");
        reset("--to-datetime", hourAgo, "--all-topics", "--execute");
        reset("--to-datetime", "2001-01-01T00:00:00.000", "--all-topics", "--dry-run");
        reset("--to-datetime", "2999-01-01T00:00:00.000", "--all-topics", "--dry-run");
        reset("--to-offset", "6", "--all-topics", "--dry-run", "--export");
        Path file = work.resolve("offsets.csv");
        Files.writeString(file, topic + ",0,2\n" + topic + ",1,3\n");
        reset("--from-file", file.toString(), "--execute");
        tool("--describe", "--group", group("empty"));
        reset("--to-latest", "--topic", topic + "-unknown", "--execute");
        tool("--reset-offsets", "--to-offset", "1", "--topic", topic, "--execute", "--group", group("made-by-reset"));
        tool("--describe", "--group", group("made-by-reset"));
        tool("--reset-offsets", "--to-earliest", "--topic", topic, "--execute", "--group", group("classic"));
        tool("--reset-offsets", "--to-earliest", "--topic", topic, "--execute", "--group", group("consumer"));
        tool("--describe", "--group", group("classic"));
        tool("--describe", "--group", group("consumer"));
    }

    private void deletes() {
        for (String name : List.of("empty", "consumer")) {
            tool("--delete-offsets", "--topic", topic + ":1", "--group", group(name));
            tool("--delete-offsets", "--topic", topic + ":7", "--group", group(name));
            tool("--delete-offsets", "--topic", topic + "-unknown", "--group", group(name));
            tool("--describe", "--group", group(name));
        }
        tool("--delete-offsets", "--topic", topic, "--group", group("unknown"));
        tool("--delete", "--group", group("empty"), "--group", group("unknown"));
        tool("--describe", "--group", group("empty"));
        for (String name : List.of("classic", "consumer", "made-by-reset")) {
            tool("--delete", "--group", group(name));
        }
        tool("--list");
        tool("--validate-regex", "topic-[0-9]+");
        tool("--validate-regex", "topic-[");
    }

    private void tool(String... words) {
        String[] all = Stream.concat(Stream.of("--bootstrap-server", bootstrap), Arrays.stream(words)).toArray(String[]::new);
        say(String.join(" ", words), () -> ConsumerGroupCommand.main(all));
    }

    private interface Command {
        void run() throws Exception;
    }

    private void say(String what, Command command) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        var said = new ByteArrayOutputStream();
        var capture = new PrintStream(said, true, StandardCharsets.UTF_8);
        System.setOut(capture);
        System.setErr(capture);
        try {
            command.run();
        } catch (Ended ended) {
            // It has said why.
        } catch (Exception error) {
            capture.println(error);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        out.println("$ " + alike(what));
        // Groups of others, and stacks of exceptions, which depend on the build.
        said.toString(StandardCharsets.UTF_8).lines()
            .filter(line -> !line.isBlank() && !line.startsWith("\tat "))
            .filter(line -> !what.contains("--list") && !what.contains("--all-groups") || line.startsWith("GROUP") || line.startsWith(topic))
            .map(this::alike).sorted().distinct().forEach(out::println);
    }

    /** Without what differs from run to run: names, ids, times, ports, the width of columns. */
    private String alike(String line) {
        return line.replace(topic, "TOPIC").replace("\"TOPIC\"", "TOPIC").replace(work.toString(), "WORK")
            .replace(bootstrap, "BROKER").replaceAll("BROKER +\\(\\d+\\)", "COORDINATOR")
            .replaceAll("(member-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID")
            .replaceAll("\\b[A-Za-z0-9_-]{22}\\b(?= +/)", "ID")
            .replaceAll("20[0-9-]{8}T[0-9:.]{12}", "TIME").replaceAll("\\[20[0-9-]{8} [0-9:,]+\\]", "[TIME]")
            .replaceAll(" +", " ").trim()
            // The epoch with which a group begins is the broker's matter.
            .replaceAll("Stable \\d+ \\d+ 1$", "Stable EPOCH EPOCH 1")
            .replaceAll("3 \\d+ (TOPIC:0,1,2) \\d+ (TOPIC:0,1,2)$", "3 EPOCH $1 EPOCH $2");
    }
}
