// What the program of the matrix does besides talking to the broker: arguments, the records, and how they are compared.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

const (
	recordCount   = 10_000
	partitions    = 3
	largeBytes    = 900 * 1024
	blockBytes    = 1024 * 1024
	programTime   = 60 * time.Second
	metadataDelay = 10 * time.Second
)

type arguments struct {
	action, bootstrap, topic, compression string
	firstTimestamp                        int64
	// Of a member of a group.
	group, protocol, assignor, reset, instance, commit string
	sessionMs                                          int64
}

type header struct {
	key   string
	value []byte
}

type record struct {
	partition int32
	key       []byte
	value     []byte
	headers   []header
	timestamp int64
}

// block is text that compresses to about a half, the same in every language.
func block() []byte {
	text, state := make([]byte, blockBytes), uint64(1)
	for at := range text {
		state = state * 16807 % 2147483647
		text[at] = byte('a' + state%16)
	}
	return text
}

func records(firstTimestamp int64) []record {
	text, all := block(), make([]record, recordCount)
	for i := range all {
		r := record{partition: int32(i % partitions), timestamp: firstTimestamp + int64(i)}
		switch i % 7 {
		case 0:
		case 1:
			r.key = []byte{}
		default:
			r.key = []byte("key-" + strconv.Itoa(i))
		}
		length := 20 + i*37%980
		if i%500 == 250 {
			length = largeBytes
		}
		start := i * 7919 % (blockBytes - length)
		r.value = text[start : start+length]
		if length != largeBytes && i%11 == 0 {
			r.value = nil
		} else if length != largeBytes && i%11 == 1 {
			r.value = []byte{}
		}
		if i%5 != 0 {
			r.headers = []header{
				{"n", []byte(strconv.Itoa(i))},
				{"repeated", []byte("first")},
				{"repeated", []byte("second-" + strconv.Itoa(i))},
				{"empty", []byte{}},
				{"null", nil},
			}
		}
		all[i] = r
	}
	return all
}

// same tells null from empty, which bytes.Equal does not.
func same(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

func shown(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 60 {
		return fmt.Sprintf("%q... of %d bytes", b[:60], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// comparison takes what a consumer reads, in the order of its partitions, and stops at the first difference.
type comparison struct {
	expected [partitions][]record
	read     [partitions]int64
}

func newComparison(firstTimestamp int64) *comparison {
	c := &comparison{}
	for _, r := range records(firstTimestamp) {
		c.expected[r.partition] = append(c.expected[r.partition], r)
	}
	return c
}

func (c *comparison) take(offset int64, got record) error {
	place := fmt.Sprintf("partition %d, offset %d", got.partition, offset)
	at := c.read[got.partition]
	if offset != at {
		return fmt.Errorf("%s: came where %d was due", place, at)
	}
	if at >= int64(len(c.expected[got.partition])) {
		return fmt.Errorf("%s: more records than were written", place)
	}
	want := c.expected[got.partition][at]
	if !same(want.key, got.key) {
		return fmt.Errorf("%s: key is %s, not %s", place, shown(got.key), shown(want.key))
	}
	if !same(want.value, got.value) {
		return fmt.Errorf("%s: value is %s, not %s", place, shown(got.value), shown(want.value))
	}
	if want.timestamp != got.timestamp {
		return fmt.Errorf("%s: timestamp is %d, not %d", place, got.timestamp, want.timestamp)
	}
	if len(want.headers) != len(got.headers) {
		return fmt.Errorf("%s: %d headers, not %d", place, len(got.headers), len(want.headers))
	}
	for i, w := range want.headers {
		if g := got.headers[i]; w.key != g.key || !same(w.value, g.value) {
			return fmt.Errorf("%s: header %d is %s=%s, not %s=%s", place, i, g.key, shown(g.value), w.key, shown(w.value))
		}
	}
	c.read[got.partition]++
	return nil
}

func (c *comparison) complete() bool {
	for partition, want := range c.expected {
		if c.read[partition] != int64(len(want)) {
			return false
		}
	}
	return true
}

func eventually(sentence string, check func() bool) error {
	for deadline := time.Now().Add(metadataDelay); !check(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s", sentence)
		}
	}
	return nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: franz-go produce|verify|roundtrip|admin|member --bootstrap HOST:PORT --topic T [--compression C] [--first-timestamp MS]")
		os.Exit(2)
	}
	args := arguments{action: os.Args[1]}
	flags := flag.NewFlagSet("franz-go", flag.ExitOnError)
	flags.StringVar(&args.bootstrap, "bootstrap", "", "HOST:PORT")
	flags.StringVar(&args.topic, "topic", "", "topic to create")
	flags.StringVar(&args.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	flags.Int64Var(&args.firstTimestamp, "first-timestamp", 1_700_000_000_000, "of the first record, in ms")
	flags.StringVar(&args.group, "group", "", "of a member")
	flags.StringVar(&args.protocol, "protocol", "classic", "of the group: classic or consumer")
	flags.StringVar(&args.assignor, "assignor", "", "range, cooperative-sticky or uniform")
	flags.StringVar(&args.reset, "reset", "earliest", "earliest, latest, none or by_duration:PT1H")
	flags.StringVar(&args.instance, "instance", "", "of a static member")
	flags.StringVar(&args.commit, "commit", "none", "none or processed")
	flags.Int64Var(&args.sessionMs, "session-ms", 30_000, "of a classic member")
	_ = flags.Parse(os.Args[2:])
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
