package clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;

/** The records that every program of the matrix writes, and how what is read is compared with them. */
final class Contract {
    static final int RECORDS = 10_000;
    static final int PARTITIONS = 3;
    static final int LARGE_BYTES = 900 * 1024;
    static final int BLOCK_BYTES = 1024 * 1024;
    static final long SECONDS_MAX = 60;

    record Header(String key, byte[] value) {}

    record Message(int partition, byte[] key, byte[] value, List<Header> headers, long timestamp) {}

    private Contract() {}

    /** Text that compresses to about a half, the same in every language. */
    private static byte[] block() {
        byte[] text = new byte[BLOCK_BYTES];
        long state = 1;
        for (int at = 0; at < text.length; at++) {
            state = state * 16807 % 2147483647;
            text[at] = (byte) ('a' + state % 16);
        }
        return text;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static List<Message> messages(long firstTimestamp) {
        byte[] text = block();
        List<Message> all = new ArrayList<>(RECORDS);
        for (int i = 0; i < RECORDS; i++) {
            byte[] key = i % 7 == 0 ? null : i % 7 == 1 ? new byte[0] : bytes("key-" + i);
            boolean large = i % 500 == 250;
            int length = large ? LARGE_BYTES : 20 + i * 37 % 980;
            int start = (int) (i * 7919L % (BLOCK_BYTES - length));
            byte[] value = Arrays.copyOfRange(text, start, start + length);
            if (!large && i % 11 < 2) {
                value = i % 11 == 0 ? null : new byte[0];
            }
            List<Header> headers = i % 5 == 0 ? List.of() : List.of(
                new Header("n", bytes("" + i)), new Header("repeated", bytes("first")),
                new Header("repeated", bytes("second-" + i)), new Header("empty", new byte[0]),
                new Header("null", null));
            all.add(new Message(i % PARTITIONS, key, value, headers, firstTimestamp + i));
        }
        return all;
    }

    static final class Difference extends Exception {
        private static final long serialVersionUID = 1;

        Difference(String sentence) {
            super(sentence);
        }
    }

    static void demand(boolean condition, String sentence) throws Difference {
        if (!condition) {
            throw new Difference(sentence);
        }
    }

    /** Metadata may be told a little after the answer: the check has ten seconds to hold. */
    static void eventually(String sentence, Callable<Boolean> check) throws Exception {
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (!check.call()) {
            demand(System.nanoTime() < deadline, sentence);
            Thread.sleep(100);
        }
    }

    /** Takes what a consumer reads, in the order of its partitions, and stops at the first difference. */
    static final class Comparison {
        private final List<List<Message>> expected = new ArrayList<>();
        final int[] read = new int[PARTITIONS];

        Comparison(long firstTimestamp) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                expected.add(new ArrayList<>());
            }
            messages(firstTimestamp).forEach(message -> expected.get(message.partition()).add(message));
        }

        void take(long offset, Message got) throws Difference {
            String place = "partition " + got.partition() + ", offset " + offset + ": ";
            List<Message> wanted = expected.get(got.partition());
            int at = read[got.partition()]++;
            demand(offset == at, place + "came where " + at + " was due");
            demand(at < wanted.size(), place + "more records than were written");
            Message want = wanted.get(at);
            compare(place + "key", want.key(), got.key());
            compare(place + "value", want.value(), got.value());
            demand(want.timestamp() == got.timestamp(), place + "timestamp is " + got.timestamp() + ", not " + want.timestamp());
            demand(want.headers().size() == got.headers().size(), place + got.headers().size() + " headers, not " + want.headers().size());
            for (int i = 0; i < want.headers().size(); i++) {
                Header wantHeader = want.headers().get(i);
                Header gotHeader = got.headers().get(i);
                demand(wantHeader.key().equals(gotHeader.key()), place + "header " + i + " is named " + gotHeader.key());
                compare(place + "header " + wantHeader.key(), wantHeader.value(), gotHeader.value());
            }
        }

        private static void compare(String what, byte[] want, byte[] got) throws Difference {
            demand(Arrays.equals(want, got), what + " is " + shown(got) + ", not " + shown(want));
        }

        private static String shown(byte[] bytes) {
            if (bytes == null) {
                return "null";
            }
            String text = new String(bytes, 0, Math.min(bytes.length, 60), StandardCharsets.UTF_8);
            return "'" + text + "' (" + bytes.length + " bytes)";
        }

        boolean complete() {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                if (read[partition] != expected.get(partition).size()) {
                    return false;
                }
            }
            return true;
        }
    }
}
