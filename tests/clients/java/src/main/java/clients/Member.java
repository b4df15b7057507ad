package clients;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a group: Apache's client. Its lines are described in tests/clients/README.md. */
public final class Member implements ConsumerRebalanceListener {
    private static final Map<String, String> ASSIGNORS = Map.of(
        "", RangeAssignor.class.getName(), "range", RangeAssignor.class.getName(),
        "cooperative-sticky", CooperativeStickyAssignor.class.getName());

    private final Map<String, String> arguments = new HashMap<>();
    private final Queue<String[]> commands = new ConcurrentLinkedQueue<>();
    /** What follows the last record that was processed. */
    private final Map<TopicPartition, OffsetAndMetadata> processed = new HashMap<>();
    private final boolean commits;
    private final KafkaConsumer<byte[], byte[]> consumer;

    private Member(String[] words) {
        for (int i = 0; i + 1 < words.length; i += 2) {
            arguments.put(words[i], words[i + 1]);
        }
        commits = arguments.getOrDefault("--commit", "none").equals("processed");
        consumer = new KafkaConsumer<>(config(), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] words) {
        new Member(words).run();
    }

    private Map<String, Object> config() {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", arguments.get("--bootstrap"));
        config.put("group.id", arguments.get("--group"));
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", arguments.getOrDefault("--reset", "earliest"));
        config.put("fetch.max.wait.ms", 100);
        config.put("reconnect.backoff.ms", 20);
        config.put("reconnect.backoff.max.ms", 200);
        config.put("metadata.max.age.ms", 2000);
        if (arguments.containsKey("--instance")) {
            config.put("group.instance.id", arguments.get("--instance"));
        }
        String assignor = arguments.getOrDefault("--assignor", "");
        if (arguments.getOrDefault("--protocol", "classic").equals("consumer")) {
            config.put("group.protocol", "consumer");
            if (!assignor.isEmpty()) {
                config.put("group.remote.assignor", assignor);
            }
        } else {
            int sessionMs = Integer.parseInt(arguments.getOrDefault("--session-ms", "30000"));
            config.put("session.timeout.ms", sessionMs);
            config.put("heartbeat.interval.ms", Math.min(500, sessionMs / 3));
            config.put("partition.assignment.strategy", ASSIGNORS.get(assignor));
        }
        return config;
    }

    /** One line in one write, so that a killed process leaves whole lines. */
    private static synchronized void say(String line) {
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }

    private static String numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(partition -> " " + partition.partition()).sorted().collect(Collectors.joining());
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        say("assigned" + numbers(partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> theirs = new HashMap<>(processed);
        theirs.keySet().retainAll(partitions);
        if (commits && !theirs.isEmpty()) {
            try {
                consumer.commitSync(theirs);
            } catch (KafkaException error) {
                say("failed commit " + error.getClass().getSimpleName());
            }
        }
        partitions.forEach(processed::remove);
        say("revoked" + numbers(partitions));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        partitions.forEach(processed::remove);
        say("lost" + numbers(partitions));
    }

    private void readCommands() {
        try (var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                commands.add(line.trim().split(" "));
            }
        } catch (IOException error) {
            System.err.println(error);
        }
        Runtime.getRuntime().halt(0); // whoever started this is gone
    }

    private void run() {
        var reader = new Thread(this::readCommands, "commands");
        reader.setDaemon(true);
        reader.start();
        consumer.subscribe(List.of(arguments.get("--topic")), this);
        say("ready");
        while (true) {
            for (String[] words = commands.poll(); words != null; words = commands.poll()) {
                if (words[0].equals("close")) {
                    consumer.close();
                    say("closed");
                    Runtime.getRuntime().halt(0);
                }
                try {
                    command(words);
                } catch (KafkaException error) {
                    say("failed " + words[0] + " " + error.getClass().getSimpleName());
                }
            }
            poll();
        }
    }

    private void poll() {
        ConsumerRecords<byte[], byte[]> records;
        try {
            records = consumer.poll(Duration.ofMillis(100));
        } catch (KafkaException error) {
            say("error " + error.getClass().getSimpleName());
            return;
        }
        for (TopicPartition partition : records.partitions()) {
            process(partition, records.records(partition));
        }
        if (commits && !records.isEmpty()) {
            consumer.commitAsync(new HashMap<>(processed), null);
        }
    }

    /** Says which, in runs without a gap. */
    private void process(TopicPartition partition, List<ConsumerRecord<byte[], byte[]>> records) {
        long first = records.get(0).offset();
        long last = first;
        for (var record : records.subList(1, records.size())) {
            if (record.offset() != last + 1) {
                say("read " + partition.partition() + " " + first + " " + last);
                first = record.offset();
            }
            last = record.offset();
        }
        say("read " + partition.partition() + " " + first + " " + last);
        processed.put(partition, new OffsetAndMetadata(last + 1));
    }

    private TopicPartition partition(String number) {
        return new TopicPartition(arguments.get("--topic"), Integer.parseInt(number));
    }

    private List<TopicPartition> partitions(String[] words) {
        return Arrays.stream(words).skip(1).map(this::partition).toList();
    }

    private void command(String[] words) {
        switch (words[0]) {
            case "commit" -> consumer.commitSync(new HashMap<>(processed));
            case "commit-async" -> {
                consumer.commitAsync(new HashMap<>(processed), (offsets, error) -> say(
                    error == null ? "done commit-async" : "failed commit-async " + error.getClass().getSimpleName()));
                return;
            }
            case "committed" -> {
                List<String> found = new ArrayList<>();
                consumer.committed(consumer.assignment()).forEach((partition, offset) -> {
                    if (offset != null) {
                        found.add(" " + partition.partition() + ":" + offset.offset());
                    }
                });
                say("committed" + String.join("", found));
                return;
            }
            case "seek" -> consumer.seek(partition(words[1]), Long.parseLong(words[2]));
            case "pause" -> consumer.pause(partitions(words));
            case "resume" -> consumer.resume(partitions(words));
            default -> throw new IllegalArgumentException("no command " + words[0]);
        }
        say("done " + words[0]);
    }
}
