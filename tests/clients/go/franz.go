package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func run(args arguments) error {
	if args.action == "member" {
		return beMember(context.Background(), args) // until it is told to close
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTime)
	defer cancel()
	steps := map[string][]func(context.Context, arguments) error{
		"produce":   {create, produce},
		"verify":    {verify},
		"roundtrip": {create, produce, verify},
		"admin":     {administer},
	}
	if steps[args.action] == nil {
		return fmt.Errorf("no action %q", args.action)
	}
	for _, step := range steps[args.action] {
		if err := step(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

func adminClient(args arguments) (*kadm.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(args.bootstrap), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

func create(ctx context.Context, args arguments) error {
	admin, err := adminClient(args)
	if err != nil {
		return err
	}
	defer admin.Close()
	_, err = admin.CreateTopic(ctx, partitions, 1, nil, args.topic)
	return err
}

func codec(name string) (kgo.CompressionCodec, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	if codec, known := codecs[name]; known {
		return codec, nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("no compression %q", name)
}

func produce(ctx context.Context, args arguments) error {
	codec, err := codec(args.compression)
	if err != nil {
		return err
	}
	// Idempotence and acks=all are the client's defaults.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(args.bootstrap), kgo.DefaultProduceTopic(args.topic), kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(recordCount),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var sent []*kgo.Record
	for _, r := range records(args.firstTimestamp) {
		out := &kgo.Record{Partition: r.partition, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestamp)}
		for _, h := range r.headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.key, Value: h.value})
		}
		sent = append(sent, out)
	}
	var next [partitions]int64
	for _, result := range client.ProduceSync(ctx, sent...) {
		if result.Err != nil {
			return result.Err
		}
		if offset := next[result.Record.Partition]; result.Record.Offset != offset {
			return fmt.Errorf("acknowledged as offset %d, not %d", result.Record.Offset, offset)
		}
		next[result.Record.Partition]++
	}
	return nil
}

func verify(ctx context.Context, args arguments) error {
	from := map[int32]kgo.Offset{}
	for partition := range int32(partitions) {
		from[partition] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(args.bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{args.topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	comparison := newComparison(args.firstTimestamp)
	for !comparison.complete() {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("read %v records of the partitions: %w", comparison.read, errs[0].Err)
		}
		for _, r := range fetches.Records() {
			got := record{partition: r.Partition, key: r.Key, value: r.Value, timestamp: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				got.headers = append(got.headers, header{h.Key, h.Value})
			}
			if err := comparison.take(r.Offset, got); err != nil {
				return err
			}
		}
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, args.topic)
	if err != nil {
		return err
	}
	for partition, count := range comparison.read {
		end, _ := ends.Lookup(args.topic, int32(partition))
		if end.Err != nil || end.Offset != count {
			return fmt.Errorf("partition %d ends at %d (%v), not at %d", partition, end.Offset, end.Err, count)
		}
	}
	return nil
}

func administer(ctx context.Context, args arguments) error {
	admin, err := adminClient(args)
	if err != nil {
		return err
	}
	defer admin.Close()
	topic := args.topic
	text := func(s string) *string { return &s }
	listed := func() bool {
		topics, err := admin.ListTopics(ctx)
		return err == nil && topics.Has(topic)
	}
	described := func() (kadm.TopicDetail, error) {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return kadm.TopicDetail{}, err
		}
		return topics[topic], topics[topic].Err
	}
	count := func(want int) func() bool {
		return func() bool {
			detail, err := described()
			return err == nil && len(detail.Partitions) == want
		}
	}
	retention := func(want string) func() bool {
		return func() bool {
			configs, err := admin.DescribeTopicConfigs(ctx, topic)
			if err != nil || len(configs) != 1 || configs[0].Err != nil {
				return false
			}
			for _, config := range configs[0].Configs {
				if config.Key == "retention.ms" {
					return config.MaybeValue() == want
				}
			}
			return false
		}
	}
	alter := func(op kadm.IncrementalOp, value *string) error {
		answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: "retention.ms", Value: value}}, topic)
		if err != nil {
			return err
		}
		return answers[0].Err
	}
	createTopic := func() error {
		_, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": text("3600000")}, topic)
		return err
	}
	grow := func(to int) error {
		answers, err := admin.UpdatePartitions(ctx, to, topic)
		if err != nil {
			return err
		}
		return answers[topic].Err
	}
	remove := func() error {
		answers, err := admin.DeleteTopics(ctx, topic)
		if err != nil {
			return err
		}
		return answers[topic].Err
	}
	refused := func(err, code error) error {
		if !errors.Is(err, code) {
			return fmt.Errorf("answered with %v, not %w", err, code)
		}
		return nil
	}
	brokers, err := admin.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return fmt.Errorf("%d brokers are listed: %v", len(brokers), err)
	}
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"create", createTopic},
		{"list", func() error { return eventually("the new topic is not listed", listed) }},
		{"create again", func() error { return refused(createTopic(), kerr.TopicAlreadyExists) }},
		{"describe", func() error { return eventually("the topic has not 3 partitions", count(3)) }},
		{"describe configs", func() error { return eventually("retention.ms was not kept", retention("3600000")) }},
		{"alter configs", func() error { return alter(kadm.SetConfig, text("7200000")) }},
		{"see it", func() error { return eventually("retention.ms was not altered", retention("7200000")) }},
		{"alter badly", func() error { return refused(alter(kadm.SetConfig, text("soon")), kerr.InvalidConfig) }},
		{"reset configs", func() error { return alter(kadm.DeleteConfig, nil) }},
		{"see the default", func() error { return eventually("retention.ms is not the default", retention("604800000")) }},
		{"create partitions", func() error { return grow(5) }},
		{"see them", func() error { return eventually("the topic has not 5 partitions", count(5)) }},
		{"take partitions away", func() error { return refused(grow(4), kerr.InvalidPartitions) }},
		{"delete", remove},
		{"see it gone", func() error {
			return eventually("the deleted topic is still listed", func() bool { return !listed() })
		}},
		{"delete again", func() error { return refused(remove(), kerr.UnknownTopicOrPartition) }},
	} {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}
