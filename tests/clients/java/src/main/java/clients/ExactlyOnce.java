package clients;

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * An idempotent producer of the proof of exactly once: Apache's client. Standard input says line by line how many
 * records may have been sent by now. The log gets a line for each record that was acknowledged: its index. What the
 * records are is said in tests/tests/exactly_once/workload.rs.
 */
public final class ExactlyOnce {
    private static final long KEY_STEP = 7919;

    private final Map<String, String> arguments = new HashMap<>();
    private final Semaphore credit = new Semaphore(0);

    private ExactlyOnce(String[] words) {
        for (int i = 0; i + 1 < words.length; i += 2) {
            arguments.put(words[i], words[i + 1]);
        }
    }

    public static void main(String[] words) throws Exception {
        new ExactlyOnce(words).run();
        // The thread that waits for credit would keep the process.
        System.exit(0);
    }

    private int number(String name) {
        return Integer.parseInt(arguments.get(name));
    }

    /** FNV-1a. */
    private static int ingress(byte[] key, int partitions) {
        int hash = 0x811c9dc5;
        for (byte part : key) {
            hash = (hash ^ (part & 0xff)) * 0x01000193;
        }
        return Integer.remainderUnsigned(hash, partitions);
    }

    private void takeCredit() {
        try (var input = new BufferedReader(new InputStreamReader(System.in))) {
            int granted = 0;
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                int now = Integer.parseInt(line);
                if (now > granted) {
                    credit.release(now - granted);
                    granted = now;
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        Runtime.getRuntime().halt(3);
    }

    private void run() throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", arguments.get("--bootstrap"));
        config.put("enable.idempotence", true);
        config.put("acks", "all");
        config.put("linger.ms", 20);
        config.put("batch.size", 32 << 10);
        config.put("request.timeout.ms", 10_000);
        config.put("delivery.timeout.ms", 600_000);
        config.put("max.block.ms", 600_000);
        config.put("retry.backoff.ms", 50);
        config.put("reconnect.backoff.ms", 20);
        config.put("reconnect.backoff.max.ms", 200);
        int keys = number("--keys");
        int producer = number("--producer");
        byte[][] names = new byte[keys][];
        for (int key = 0; key < keys; key++) {
            names[key] = ((key % 2 == 0 ? "vip-" : "user-") + key).getBytes(StandardCharsets.UTF_8);
        }
        var reader = new Thread(this::takeCredit, "credit");
        reader.setDaemon(true);
        reader.start();
        int valueBytes = number("--value-bytes");
        try (var log = new FileOutputStream(arguments.get("--log"), true);
                var sender = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int index = 0; index < number("--records"); index++) {
                credit.acquire();
                int key = (int) ((index * KEY_STEP + producer) % keys);
                var value = new StringBuilder(producer + ":" + index + ":");
                value.append("x".repeat(Math.max(0, valueBytes - value.length())));
                var record = new ProducerRecord<>(
                    arguments.get("--topic"), ingress(names[key], number("--partitions")), names[key],
                    value.toString().getBytes(StandardCharsets.UTF_8));
                int sent = index;
                sender.send(record, (metadata, error) -> note(log, sent, error));
            }
            sender.flush();
        }
    }

    private static void note(FileOutputStream log, int index, Exception error) {
        String line = error == null ? index + "\n" : "failed " + index + ": " + error + "\n";
        try {
            log.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
