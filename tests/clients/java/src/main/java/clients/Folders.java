package clients;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Properties;
import java.util.TreeMap;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.properties.MetaPropertiesEnsemble;
import org.apache.kafka.metadata.properties.MetaPropertiesEnsemble.VerificationFlag;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.checkpoint.CleanShutdownFileHandler;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Kafka's own classes read folders of `log.dirs`: every checkpoint, and every partition twice, first as after a clean
 * stop, with the indexes and snapshots that lie there, then as after a crash, with all of them made again. Both must end
 * alike. Prints `TOPIC:PARTITION:END` for each, and exits with 1 after the first complaint. Recovery writes, so the
 * folders must be copies. `--move BOOTSTRAP TOPIC DIR` moves a partition beforehand.
 */
final class Folders {
    private static final String[] CHECKPOINTS = {
        "recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"
    };
    /** Producer ids from here on mark batches that a lane forwarded; snapshots in Kafka's format leave them out. */
    private static final long LANES = 1L << 62;

    private Folders() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 4 && args[0].equals("--move")) {
            move(args[1], args[2], args[3]);
            return;
        }
        List<String> dirs = new ArrayList<>();
        boolean clean = false;
        for (String arg : args) {
            if (arg.equals("--clean")) clean = true;
            else dirs.add(arg);
        }
        MetaPropertiesEnsemble owners = new MetaPropertiesEnsemble.Loader().addLogDirs(dirs).load();
        require(owners.errorLogDirs().isEmpty(), "meta.properties: " + owners.errorLogDirs());
        owners.verify(owners.clusterId(), OptionalInt.of(1),
            EnumSet.of(VerificationFlag.REQUIRE_AT_LEAST_ONE_VALID));
        try (Scheduler scheduler = new Scheduler()) {
            for (String dir : dirs) {
                require(new CleanShutdownFileHandler(dir).exists() == clean, dir + ": the note of a clean stop");
                check(new File(dir), scheduler);
            }
        }
        System.exit(0);
    }

    /** Moves partition 0 of a topic into a folder, and returns once it is there. */
    private static void move(String bootstrap, String topic, String dir) throws Exception {
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, 1);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.alterReplicaLogDirs(Map.of(replica, dir)).all().get();
            for (int look = 0; look < 600; look++) {
                var info = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
                if (dir.equals(info.getCurrentReplicaLogDir()) && info.getFutureReplicaLogDir() == null) return;
                Thread.sleep(50);
            }
        }
        require(false, topic + " did not arrive in " + dir);
    }

    private static final class Scheduler extends KafkaScheduler implements AutoCloseable {
        Scheduler() {
            super(1);
            startup();
        }

        @Override
        public void close() throws InterruptedException {
            shutdown();
        }
    }

    private static void check(File dir, KafkaScheduler scheduler) throws Exception {
        LogDirFailureChannel failures = new LogDirFailureChannel(8);
        List<Map<TopicPartition, Long>> checkpoints = new ArrayList<>();
        for (String name : CHECKPOINTS) {
            File file = new File(dir, name);
            require(file.isFile(), file + " is missing");
            checkpoints.add(new OffsetCheckpointFile(file, failures).read());
        }
        File[] partitions = dir.listFiles(file -> file.isDirectory() && file.getName().matches(".*-[0-9]+"));
        for (File partition : partitions) {
            if (partition.getName().startsWith("__cluster_metadata-")) continue;
            TopicPartition name = UnifiedLog.parseTopicPartitionName(partition);
            Uuid id = new PartitionMetadataFile(PartitionMetadataFile.newFile(partition), failures).read().topicId();
            require(!id.equals(Uuid.ZERO_UUID), partition + ": its topic has no id");
            new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(partition), failures).read();
            long start = checkpoints.get(1).getOrDefault(name, 0L);
            long recoveryPoint = checkpoints.get(0).getOrDefault(name, 0L);
            Loaded asTheyLie = load(partition, id, start, recoveryPoint, true, scheduler, failures);
            Loaded madeAgain = load(partition, id, start, 0, false, scheduler, failures);
            // What snapshots know of producers whose batches are deleted cannot be made again.
            boolean isSame = asTheyLie.ends.equals(madeAgain.ends)
                && asTheyLie.epochs.equals(madeAgain.epochs)
                && asTheyLie.producers.entrySet().containsAll(madeAgain.producers.entrySet());
            require(isSame, partition + ": " + asTheyLie + ", made again: " + madeAgain);
            long end = asTheyLie.ends.get(1);
            require(checkpoints.get(2).getOrDefault(name, 0L) <= end, partition + ": its watermark lies above " + end);
            System.out.println(name.topic() + ":" + name.partition() + ":" + end);
        }
        require(!failures.hasOfflineLogDir(dir.getAbsolutePath()), dir + " went offline");
    }

    /** A log as Kafka sees it: start, end and size, epochs, and the last sequence of each producer. */
    private record Loaded(List<Long> ends, String epochs, Map<Long, Integer> producers) {}

    private static Loaded load(File dir, Uuid id, long start, long recoveryPoint, boolean clean,
            KafkaScheduler scheduler, LogDirFailureChannel failures) throws Exception {
        if (!clean) {
            try (var files = Files.list(dir.toPath())) {
                for (Path file : files.toList()) {
                    if (file.toString().matches(".*\\.(index|timeindex|snapshot)")) Files.delete(file);
                }
            }
        }
        UnifiedLog log = UnifiedLog.create(dir, new LogConfig(new Properties()), start, recoveryPoint, scheduler,
            new BrokerTopicStats(), Time.SYSTEM, 900_000, new ProducerStateManagerConfig(Integer.MAX_VALUE, false),
            600_000, failures, clean, Optional.of(id));
        Map<Long, Integer> producers = new TreeMap<>(new HashMap<>(log.activeProducersWithLastSequence()));
        producers.keySet().removeIf(producer -> producer >= LANES);
        Loaded found = new Loaded(List.of(log.logStartOffset(), log.logEndOffset(), log.size()),
            log.leaderEpochCache().epochEntries().toString(), producers);
        log.close();
        return found;
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            System.err.println("FAULT: " + what);
            System.exit(1);
        }
    }
}
