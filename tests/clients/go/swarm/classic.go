package main

import (
	"errors"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classic is a member of the older protocol, with the eager assignor `range`. Whoever leads deals out the partitions by the
// order of member ids.
type classic struct {
	*settings
	board      *board
	link       *connection
	index      int
	id         string
	generation int32
}

func (m *classic) subscription() []byte {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Version = 0
	metadata.Topics = []string{m.topic}
	return metadata.AppendTo(nil)
}

func (m *classic) joinOnce() (*kmsg.JoinGroupResponse, error) {
	request := kmsg.NewPtrJoinGroupRequest()
	request.Version = 7
	request.Group = m.group
	request.SessionTimeoutMillis = int32(sessionTime.Milliseconds())
	request.RebalanceTimeoutMillis = int32(sessionTime.Milliseconds())
	request.MemberID = m.id
	request.ProtocolType = "consumer"
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	protocol.Metadata = m.subscription()
	request.Protocols = append(request.Protocols, protocol)
	response, err := m.link.ask(request)
	if err != nil {
		return nil, err
	}
	joined := response.(*kmsg.JoinGroupResponse)
	return joined, kerr.ErrorForCode(joined.ErrorCode)
}

func (m *classic) shares(joined *kmsg.JoinGroupResponse) []kmsg.SyncGroupRequestGroupAssignment {
	members := joined.Members
	sort.Slice(members, func(one, other int) bool { return members[one].MemberID < members[other].MemberID })
	var shares []kmsg.SyncGroupRequestGroupAssignment
	for at, member := range members {
		assignment := kmsg.NewConsumerMemberAssignment()
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic = m.topic
		for partition := at * m.partitions / len(members); partition < (at+1)*m.partitions/len(members); partition++ {
			topic.Partitions = append(topic.Partitions, int32(partition))
		}
		assignment.Topics = append(assignment.Topics, topic)
		share := kmsg.NewSyncGroupRequestGroupAssignment()
		share.MemberID = member.MemberID
		share.MemberAssignment = assignment.AppendTo(nil)
		shares = append(shares, share)
	}
	return shares
}

func (m *classic) sync(joined *kmsg.JoinGroupResponse) (int, error) {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Version = 5
	request.Group = m.group
	request.Generation = m.generation
	request.MemberID = m.id
	kind, name := "consumer", "range"
	request.ProtocolType, request.Protocol = &kind, &name
	if joined.LeaderID == m.id {
		request.GroupAssignment = m.shares(joined)
	}
	response, err := m.link.ask(request)
	if err != nil {
		return 0, err
	}
	synced := response.(*kmsg.SyncGroupResponse)
	if err := kerr.ErrorForCode(synced.ErrorCode); err != nil {
		return 0, err
	}
	assignment, owned := kmsg.NewConsumerMemberAssignment(), 0
	if err := assignment.ReadFrom(synced.MemberAssignment); err != nil {
		return 0, err
	}
	for _, topic := range assignment.Topics {
		owned += len(topic.Partitions)
	}
	return owned, nil
}

func (m *classic) join(above int32) error {
	if err := m.rejoin(); err != nil {
		return err
	}
	return m.expect(above)
}

// rejoin goes on until a generation has dealt this member its partitions.
func (m *classic) rejoin() error {
	for {
		joined, err := m.joinOnce()
		if errors.Is(err, kerr.MemberIDRequired) {
			m.id = joined.MemberID
			continue
		}
		if errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) ||
			errors.Is(err, kerr.NotCoordinator) {
			time.Sleep(askAgainTime)
			continue
		}
		if err != nil {
			return err
		}
		m.id, m.generation = joined.MemberID, joined.Generation
		owned, err := m.sync(joined)
		if errors.Is(err, kerr.RebalanceInProgress) {
			continue
		}
		if err != nil {
			return err
		}
		m.board.note(m.index, m.generation, owned)
		return nil
	}
}

// rebalances asks once whether others wait for this member to join anew.
func (m *classic) rebalances() (bool, error) {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Version = 4
	request.Group, request.Generation, request.MemberID = m.group, m.generation, m.id
	response, err := m.link.ask(request)
	if err != nil {
		return false, err
	}
	err = kerr.ErrorForCode(response.(*kmsg.HeartbeatResponse).ErrorCode)
	if errors.Is(err, kerr.RebalanceInProgress) {
		return true, nil
	}
	return false, err
}

func (m *classic) expect(above int32) error {
	for ; !m.board.calm(m.settings, m.generation > above); time.Sleep(askAgainTime) {
		again, err := m.rebalances()
		if err != nil {
			return err
		}
		if again {
			if err := m.rejoin(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *classic) leave() error {
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Version = 3
	request.Group = m.group
	leaving := kmsg.NewLeaveGroupRequestMember()
	leaving.MemberID = m.id
	request.Members = append(request.Members, leaving)
	response, err := m.link.ask(request)
	if err != nil {
		return err
	}
	m.board.forget(m.index)
	return kerr.ErrorForCode(response.(*kmsg.LeaveGroupResponse).ErrorCode)
}
