package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	pollTime   = 100 * time.Millisecond
	answerTime = 10 * time.Second
)

// member is in a group; its lines are described in tests/clients/README.md. Rebalances wait while it processes, so
// `processed`, the offsets that follow the last processed records, is never touched by two at once.
type member struct {
	args      arguments
	client    *kgo.Client
	processed map[int32]kgo.EpochOffset
}

// say writes one line in one write, so that a killed process leaves whole lines.
func say(words ...any) {
	_, _ = os.Stdout.WriteString(fmt.Sprintln(words...))
}

func numbers(partitions []int32) []any {
	slices.Sort(partitions)
	words := make([]any, 0, len(partitions))
	for _, partition := range partitions {
		words = append(words, partition)
	}
	return words
}

func startOffset(reset string) (kgo.Offset, error) {
	switch name, duration, _ := strings.Cut(reset, ":"); name {
	case "earliest":
		return kgo.NewOffset().AtStart(), nil
	case "latest":
		return kgo.NewOffset().AtEnd(), nil
	case "none":
		return kgo.NewOffset().AtCommitted(), nil
	case "by_duration":
		back, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(duration, "PT")))
		return kgo.NewOffset().AfterMilli(time.Now().Add(-back).UnixMilli()), err
	}
	return kgo.Offset{}, fmt.Errorf("no reset %q", reset)
}

func (m *member) options() ([]kgo.Opt, error) {
	start, err := startOffset(m.args.reset)
	if err != nil {
		return nil, err
	}
	session := time.Duration(m.args.sessionMs) * time.Millisecond
	options := []kgo.Opt{
		kgo.SeedBrokers(m.args.bootstrap), kgo.ConsumerGroup(m.args.group), kgo.ConsumeTopics(m.args.topic),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.ConsumeStartOffset(start), kgo.ConsumeResetOffset(start),
		kgo.FetchMaxWait(pollTime), kgo.SessionTimeout(session), kgo.HeartbeatInterval(min(500*time.Millisecond, session/3)),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			say(append([]any{"assigned"}, numbers(got[m.args.topic])...)...)
		}),
		kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			m.forget("lost", lost)
		}),
	}
	balancers := map[string]kgo.GroupBalancer{
		"": kgo.CooperativeStickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
		"range": kgo.RangeBalancer(), "uniform": kgo.StickyBalancer(),
	}
	if m.args.protocol == "consumer" {
		balancers[""] = kgo.StickyBalancer()
		options = append(options, kgo.ServerSideBalancer())
	}
	options = append(options, kgo.Balancers(balancers[m.args.assignor]))
	if m.args.instance != "" {
		options = append(options, kgo.InstanceID(m.args.instance))
	}
	return options, nil
}

func (m *member) forget(word string, gone map[string][]int32) {
	for _, partition := range gone[m.args.topic] {
		delete(m.processed, partition)
	}
	say(append([]any{word}, numbers(gone[m.args.topic])...)...)
}

func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	if m.args.commit == "processed" {
		if err := m.commit(ctx); err != nil {
			say("failed", "commit", strings.ReplaceAll(err.Error(), " ", "_"))
		}
	}
	m.forget("revoked", gone)
}

func (m *member) offsets() map[string]map[int32]kgo.EpochOffset {
	copied := map[int32]kgo.EpochOffset{}
	for partition, offset := range m.processed {
		copied[partition] = offset
	}
	return map[string]map[int32]kgo.EpochOffset{m.args.topic: copied}
}

// answered is what became of a commit: the first error of its partitions.
func answered(response *kmsg.OffsetCommitResponse, err error) error {
	if err != nil {
		return err
	}
	for _, topic := range response.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *member) commit(ctx context.Context) (failure error) {
	if len(m.processed) == 0 {
		return nil
	}
	m.client.CommitOffsetsSync(ctx, m.offsets(), func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		failure = answered(response, err)
	})
	return failure
}

func (m *member) poll(ctx context.Context) {
	polling, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	fetches := m.client.PollFetches(polling)
	defer m.client.AllowRebalance()
	fetches.EachError(func(_ string, _ int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			say("error", strings.ReplaceAll(err.Error(), " ", "_"))
		}
	})
	fetches.EachPartition(func(batch kgo.FetchTopicPartition) {
		for at := 0; at < len(batch.Records); {
			first, last := batch.Records[at], batch.Records[at]
			for at++; at < len(batch.Records) && batch.Records[at].Offset == last.Offset+1; at++ {
				last = batch.Records[at]
			}
			say("read", batch.Partition, first.Offset, last.Offset)
			m.processed[batch.Partition] = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
		}
	})
	if m.args.commit == "processed" && !fetches.Empty() {
		m.client.CommitOffsets(ctx, m.offsets(), nil)
	}
}

func (m *member) partitions(words []string) (map[string][]int32, error) {
	var found []int32
	for _, word := range words {
		number, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, err
		}
		found = append(found, int32(number))
	}
	return map[string][]int32{m.args.topic: found}, nil
}

func (m *member) committed(ctx context.Context) error {
	found, err := kadm.NewClient(m.client).FetchOffsets(ctx, m.args.group)
	if err != nil {
		return err
	}
	words := []any{"committed"}
	found.Each(func(offset kadm.OffsetResponse) {
		if offset.At >= 0 {
			words = append(words, fmt.Sprintf("%d:%d", offset.Partition, offset.At))
		}
	})
	say(words...)
	return nil
}

func (m *member) command(ctx context.Context, words []string) error {
	switch words[0] {
	case "commit":
		return m.commit(ctx)
	case "commit-async":
		m.client.CommitOffsets(ctx, m.offsets(), func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if err := answered(response, err); err != nil {
				say("failed", "commit-async", strings.ReplaceAll(err.Error(), " ", "_"))
				return
			}
			say("done", "commit-async")
		})
		return nil
	case "committed":
		return m.committed(ctx)
	case "seek":
		partitions, err := m.partitions(words[1:2])
		if err != nil {
			return err
		}
		offset, err := strconv.ParseInt(words[2], 10, 64)
		to := map[int32]kgo.EpochOffset{partitions[m.args.topic][0]: {Epoch: -1, Offset: offset}}
		m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{m.args.topic: to})
		return err
	case "pause", "resume":
		partitions, err := m.partitions(words[1:])
		if words[0] == "pause" {
			m.client.PauseFetchPartitions(partitions)
		} else {
			m.client.ResumeFetchPartitions(partitions)
		}
		return err
	}
	return fmt.Errorf("no command %q", words[0])
}

func beMember(ctx context.Context, args arguments) error {
	m := &member{args: args, processed: map[int32]kgo.EpochOffset{}}
	options, err := m.options()
	if err != nil {
		return err
	}
	if m.client, err = kgo.NewClient(options...); err != nil {
		return err
	}
	commands := make(chan []string, 16)
	go func() {
		input := bufio.NewScanner(os.Stdin)
		for input.Scan() {
			commands <- strings.Fields(input.Text())
		}
		os.Exit(0) // whoever started this is gone
	}()
	say("ready")
	for {
		select {
		case words := <-commands:
			if words[0] == "close" {
				m.client.CloseAllowingRebalance()
				say("closed")
				return nil
			}
			answer, cancel := context.WithTimeout(ctx, answerTime)
			if err := m.command(answer, words); err != nil {
				say("failed", words[0], strings.ReplaceAll(err.Error(), " ", "_"))
			} else if words[0] != "commit-async" && words[0] != "committed" {
				say("done", words[0])
			}
			if words[0] != "commit-async" {
				cancel()
			} else {
				context.AfterFunc(answer, cancel)
			}
		default:
			m.poll(ctx)
		}
	}
}
