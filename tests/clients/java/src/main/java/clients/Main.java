package clients;

import static clients.Contract.PARTITIONS;
import static clients.Contract.SECONDS_MAX;
import static clients.Contract.demand;
import static clients.Contract.eventually;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache's Java client. */
public final class Main {
    private final String bootstrap;
    private final String topic;
    private final String compression;
    private final long firstTimestamp;

    private Main(Map<String, String> arguments) {
        bootstrap = arguments.get("--bootstrap");
        topic = arguments.get("--topic");
        compression = arguments.getOrDefault("--compression", "none");
        firstTimestamp = Long.parseLong(arguments.getOrDefault("--first-timestamp", "1700000000000"));
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> named = new HashMap<>();
        for (int i = 1; i + 1 < arguments.length; i += 2) {
            named.put(arguments[i], arguments[i + 1]);
        }
        Main main = new Main(named);
        try {
            switch (arguments[0]) {
                case "produce" -> main.create().produce();
                case "verify" -> main.verify();
                case "roundtrip" -> main.create().produce().verify();
                case "admin" -> main.administer();
                default -> throw new Contract.Difference("no action " + arguments[0]);
            }
        } catch (Contract.Difference difference) {
            System.err.println(difference.getMessage());
            System.exit(1);
        }
    }

    private Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private static <T> T result(KafkaFuture<T> future) throws Exception {
        return future.get(SECONDS_MAX, TimeUnit.SECONDS);
    }

    private static boolean refused(KafkaFuture<?> future, Class<? extends Exception> kind) throws Exception {
        try {
            result(future);
            return false;
        } catch (ExecutionException error) {
            return kind.isInstance(error.getCause());
        }
    }

    private Main create() throws Exception {
        try (Admin admin = admin()) {
            result(admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all());
        }
        return this;
    }

    private Main produce() throws Exception {
        // Idempotence and acks=all are the client's defaults, and said here all the same.
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "compression.type", compression, "enable.idempotence", true,
            "acks", "all", "linger.ms", 5, "buffer.memory", 64L << 20);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (Contract.Message message : Contract.messages(firstTimestamp)) {
                var record = new ProducerRecord<>(
                    topic, message.partition(), message.timestamp(), message.key(), message.value());
                message.headers().forEach(header -> record.headers().add(new RecordHeader(header.key(), header.value())));
                sent.add(producer.send(record));
            }
            producer.flush();
        }
        long[] next = new long[PARTITIONS];
        for (Future<RecordMetadata> future : sent) {
            RecordMetadata metadata = future.get();
            long wanted = next[metadata.partition()]++;
            demand(metadata.offset() == wanted, "acknowledged as offset " + metadata.offset() + ", not " + wanted);
        }
        return this;
    }

    private void verify() throws Exception {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "enable.auto.commit", false, "auto.offset.reset", "none");
        List<TopicPartition> partitions =
            IntStream.range(0, PARTITIONS).mapToObj(partition -> new TopicPartition(topic, partition)).toList();
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            partitions.forEach(partition -> consumer.seek(partition, 0));
            var comparison = new Contract.Comparison(firstTimestamp);
            long deadline = System.nanoTime() + SECONDS_MAX * 1_000_000_000L;
            while (!comparison.complete()) {
                demand(System.nanoTime() < deadline, "read " + List.of(IntStream.of(comparison.read).boxed().toArray()) + " records of the partitions");
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    List<Contract.Header> headers = new ArrayList<>();
                    record.headers().forEach(header -> headers.add(new Contract.Header(header.key(), header.value())));
                    comparison.take(record.offset(), new Contract.Message(
                        record.partition(), record.key(), record.value(), headers, record.timestamp()));
                }
            }
            var ends = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                long count = comparison.read[partition.partition()];
                demand(ends.get(partition) == count, partition + " ends at " + ends.get(partition) + ", not at " + count);
            }
        }
    }

    private KafkaFuture<Void> alter(Admin admin, String value, OpType how) {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var operation = new AlterConfigOp(new ConfigEntry("retention.ms", value), how);
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all();
    }

    private String retention(Admin admin) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return result(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value();
    }

    private boolean listed(Admin admin) throws Exception {
        return result(admin.listTopics().names()).contains(topic);
    }

    private int partitions(Admin admin) throws Exception {
        return result(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
    }

    private void administer() throws Exception {
        try (Admin admin = admin()) {
            demand(!result(admin.describeCluster().nodes()).isEmpty(), "no broker is listed");
            var topics = List.of(
                new NewTopic(topic, Optional.of(3), Optional.empty()).configs(Map.of("retention.ms", "3600000")));
            result(admin.createTopics(topics, new CreateTopicsOptions().validateOnly(true)).all());
            demand(!listed(admin), "validateOnly created the topic");
            result(admin.createTopics(topics).all());
            eventually("the new topic is not listed", () -> listed(admin));
            demand(refused(admin.createTopics(topics).all(), TopicExistsException.class), "the topic could be created twice");
            demand(partitions(admin) == 3, "the topic has not 3 partitions");
            demand(retention(admin).equals("3600000"), "retention.ms was not kept at creation");
            result(alter(admin, "7200000", OpType.SET));
            eventually("retention.ms was not altered", () -> retention(admin).equals("7200000"));
            demand(refused(alter(admin, "soon", OpType.SET), InvalidConfigurationException.class), "a retention.ms of `soon` was not refused");
            result(alter(admin, null, OpType.DELETE));
            eventually("retention.ms is not the default again", () -> retention(admin).equals("604800000"));
            result(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
            eventually("the topic has not 5 partitions", () -> partitions(admin) == 5);
            var fewer = admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all();
            demand(refused(fewer, InvalidPartitionsException.class), "partitions could be taken away");
            result(admin.deleteTopics(List.of(topic)).all());
            eventually("the deleted topic is still listed", () -> !listed(admin));
            var gone = admin.deleteTopics(List.of(topic)).all();
            demand(refused(gone, UnknownTopicOrPartitionException.class), "an unknown topic could be deleted");
        }
    }
}
