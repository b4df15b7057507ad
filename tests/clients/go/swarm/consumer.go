package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumer is a member of the protocol of KIP-848. It gives up what it shall and says so at once.
type consumer struct {
	*settings
	board *board
	link  *connection
	topic [16]byte
	index int
	id    string
	epoch int32
	owned []int32
}

// beat sends one heartbeat, a full one where the member joins or what it owns has changed; it says whether the answer
// changed that again.
func (m *consumer) beat(full bool) (bool, error) {
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Version = 1
	request.Group, request.MemberID, request.MemberEpoch = m.group, m.id, m.epoch
	request.RebalanceTimeoutMillis = -1
	if full {
		request.RebalanceTimeoutMillis = int32(sessionTime.Milliseconds())
		request.SubscribedTopicNames = []string{m.settings.topic}
		request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if len(m.owned) > 0 {
			mine := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			mine.TopicID, mine.Partitions = m.topic, m.owned
			request.Topics = append(request.Topics, mine)
		}
	}
	response, err := m.link.ask(request)
	if err != nil {
		return false, err
	}
	answer := response.(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return false, err
	}
	before := m.epoch
	m.epoch = answer.MemberEpoch
	if answer.Assignment == nil {
		if m.epoch != before {
			m.board.note(m.index, m.epoch, len(m.owned))
		}
		return false, nil
	}
	var given []int32
	for _, topic := range answer.Assignment.Topics {
		given = append(given, topic.Partitions...)
	}
	slices.Sort(given)
	changed := !slices.Equal(given, m.owned)
	m.owned = given
	m.board.note(m.index, m.epoch, len(m.owned))
	return changed, nil
}

// settle beats until what it owns is what it was told.
func (m *consumer) settle(full bool) error {
	for {
		changed, err := m.beat(full)
		if errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) ||
			errors.Is(err, kerr.NotCoordinator) {
			time.Sleep(askAgainTime)
			continue
		}
		if err != nil || !changed {
			return err
		}
		full = true
	}
}

func (m *consumer) join(above int32) error {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	m.id = base64.RawURLEncoding.EncodeToString(id[:])
	if err := m.settle(true); err != nil {
		return err
	}
	return m.expect(above)
}

func (m *consumer) expect(above int32) error {
	for ; !m.board.calm(m.settings, m.epoch > above); time.Sleep(askAgainTime) {
		if err := m.settle(false); err != nil {
			return err
		}
	}
	return nil
}

func (m *consumer) leave() error {
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Version = 1
	request.Group, request.MemberID, request.MemberEpoch = m.group, m.id, -1
	request.RebalanceTimeoutMillis = -1
	response, err := m.link.ask(request)
	if err != nil {
		return err
	}
	m.board.forget(m.index)
	return kerr.ErrorForCode(response.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode)
}
