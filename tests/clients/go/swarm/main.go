// The swarm is one group of many members, each on a connection of its own, that speaks the protocol itself: what a rebalance
// takes is then the broker's time, not a client's. It brings the group to rest, lets one more member join, and prints how
// long it took until all, the new one included, were at rest again; then that member leaves, and so on.
//
// Members that wait for their next heartbeat would add its interval, the same to any broker. So each beats as soon as the
// new member has sent its request, and until it hears of the rebalance.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	responseBytesMax = 64 << 20
	restTimeMax      = 120 * time.Second
	// So often a member asks whether a rebalance has begun, once it expects one.
	askAgainTime = 5 * time.Millisecond
	sessionTime  = 5 * time.Minute
)

type settings struct {
	bootstrap, protocol, group, topic string
	members, partitions, runs         int
}

// connection carries one request at a time.
type connection struct {
	socket      net.Conn
	formatter   *kmsg.RequestFormatter
	correlation int32
	buffer      []byte
}

func dial(address string) (*connection, error) {
	socket, err := net.DialTimeout("tcp", address, restTimeMax)
	if err != nil {
		return nil, err
	}
	return &connection{socket: socket, formatter: kmsg.NewRequestFormatter(kmsg.FormatterClientID("swarm"))}, nil
}

// ask sends a request and reads its response into the value that `request` makes for it.
func (c *connection) ask(request kmsg.Request) (kmsg.Response, error) {
	c.correlation++
	c.buffer = c.formatter.AppendRequest(c.buffer[:0], request, c.correlation)
	if _, err := c.socket.Write(c.buffer); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.socket, size[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(size[:])
	if length > responseBytesMax || length < 4 {
		return nil, fmt.Errorf("a response of %d bytes", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.socket, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != c.correlation {
		return nil, fmt.Errorf("an answer to request %d, not %d", got, c.correlation)
	}
	body = body[4:]
	if request.IsFlexible() {
		body = body[1:] // no tagged fields in any of these headers
	}
	response := request.ResponseKind()
	return response, response.ReadFrom(body)
}

// board is where members say how they stand, and where it shows that all are at rest.
type board struct {
	mutex   sync.Mutex
	changed *sync.Cond
	epochs  map[int]int32
	owned   map[int]int
	failure error
	// Nobody need ask any more, for all leave.
	ends bool
}

func newBoard() *board {
	b := &board{epochs: map[int]int32{}, owned: map[int]int{}}
	b.changed = sync.NewCond(&b.mutex)
	return b
}

func (b *board) note(member int, epoch int32, owned int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.epochs[member], b.owned[member] = epoch, owned
	b.changed.Broadcast()
}

func (b *board) forget(member int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	delete(b.epochs, member)
	delete(b.owned, member)
	b.changed.Broadcast()
}

func (b *board) end() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.ends = true
}

func (b *board) fail(err error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.failure == nil {
		b.failure = err
	}
	b.changed.Broadcast()
}

// rest waits until so many members are in one epoch above `after` and own all partitions in fair shares, for a broker may
// let members into the present epoch and assign later; it returns the epoch.
func (b *board) rest(members, partitions int, after int32) (int32, error) {
	late := time.AfterFunc(restTimeMax, func() { b.fail(fmt.Errorf("no rest within %s", restTimeMax)) })
	defer late.Stop()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for {
		if b.failure != nil {
			return 0, b.failure
		}
		if epoch, at := b.atRest(members, partitions, after); at {
			return epoch, nil
		}
		b.changed.Wait()
	}
}

func (b *board) atRest(members, partitions int, after int32) (int32, bool) {
	if len(b.epochs) != members {
		return 0, false
	}
	first, sum, least, most := int32(-1), 0, partitions, 0
	for member, epoch := range b.epochs {
		if first < 0 {
			first = epoch
		}
		if epoch != first || epoch <= after {
			return 0, false
		}
		sum, least, most = sum+b.owned[member], min(least, b.owned[member]), max(most, b.owned[member])
	}
	return first, sum == partitions && most-least <= 1
}

// calm is the state in which no member need ask any more: the group is at rest, with or without the one that comes and goes;
// `moved` says whether the member has come to the epoch that it expects.
func (b *board) calm(s *settings, moved bool) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.failure != nil || b.ends {
		return true
	}
	_, at := b.atRest(len(b.epochs), s.partitions, -1)
	return moved && at && len(b.epochs) >= s.members-1
}

// member is one of the group. `join` and `expect` ask until it has come to an epoch above that one.
type member interface {
	join(above int32) error
	expect(above int32) error
	leave() error
}

// turns lets a member do one thing after the other: its connection carries one request at a time.
type turns struct {
	sync.Mutex
	member
}

func newMember(s *settings, b *board, topicID [16]byte, index int) (*turns, error) {
	link, err := dial(s.bootstrap)
	if err != nil {
		return nil, err
	}
	if s.protocol == "classic" {
		return &turns{member: &classic{settings: s, board: b, link: link, index: index}}, nil
	}
	return &turns{member: &consumer{settings: s, board: b, link: link, topic: topicID, index: index}}, nil
}

func topicID(s *settings) (id [16]byte, err error) {
	link, err := dial(s.bootstrap)
	if err != nil {
		return id, err
	}
	defer link.socket.Close()
	// The first question for a coordinator makes a broker create its topic of offsets.
	coordinator := kmsg.NewPtrFindCoordinatorRequest()
	coordinator.Version, coordinator.CoordinatorKeys = 4, []string{s.group}
	if _, err := link.ask(coordinator); err != nil {
		return id, err
	}
	request := kmsg.NewPtrMetadataRequest()
	request.Version = 12
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &s.topic
	request.Topics = append(request.Topics, topic)
	response, err := link.ask(request)
	if err != nil {
		return id, err
	}
	found := response.(*kmsg.MetadataResponse).Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return id, err
	}
	if len(found.Partitions) != s.partitions {
		return id, fmt.Errorf("the topic has %d partitions, not %d", len(found.Partitions), s.partitions)
	}
	return found.TopicID, nil
}

// everyone calls for each member at once and waits for all; what fails goes to the board.
func everyone(b *board, all []*turns, call func(member) error) {
	var waiting sync.WaitGroup
	for _, one := range all {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			one.Lock()
			defer one.Unlock()
			if err := call(one.member); err != nil {
				b.fail(err)
			}
		}()
	}
	waiting.Wait()
}

func run(s *settings) ([]float64, error) {
	id, err := topicID(s)
	if err != nil {
		return nil, err
	}
	b := newBoard()
	var all []*turns
	for index := range s.members - 1 {
		one, err := newMember(s, b, id, index)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	go everyone(b, all, func(one member) error { return one.join(-1) })
	epoch, err := b.rest(len(all), s.partitions, -1)
	if err != nil {
		return nil, fmt.Errorf("the first joins: %w", err)
	}
	var took []float64
	for run := range s.runs + 1 {
		last, err := newMember(s, b, id, s.members+run)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		before := epoch
		go everyone(b, []*turns{last}, func(one member) error { return one.join(before) })
		go everyone(b, all, func(one member) error { return one.expect(before) })
		if epoch, err = b.rest(s.members, s.partitions, epoch); err != nil {
			return nil, fmt.Errorf("join %d: %w", run, err)
		}
		if run > 0 { // the first warms up
			took = append(took, float64(time.Since(began).Microseconds())/1e3)
		}
		everyone(b, []*turns{last}, member.leave)
		between := epoch
		go everyone(b, all, func(one member) error { return one.expect(between) })
		if epoch, err = b.rest(len(all), s.partitions, epoch); err != nil {
			return nil, fmt.Errorf("leave %d: %w", run, err)
		}
	}
	b.end()
	everyone(b, all, member.leave)
	return took, b.failure
}

func main() {
	s := &settings{}
	flag.StringVar(&s.bootstrap, "bootstrap", "", "HOST:PORT of the coordinator")
	flag.StringVar(&s.protocol, "protocol", "classic", "classic or consumer")
	flag.StringVar(&s.group, "group", "swarm", "its name")
	flag.StringVar(&s.topic, "topic", "swarm", "a topic that exists")
	flag.IntVar(&s.members, "members", 1000, "with the one that joins")
	flag.IntVar(&s.partitions, "partitions", 1000, "of the topic")
	flag.IntVar(&s.runs, "runs", 5, "joins that are counted")
	flag.Parse()
	took, err := run(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sort.Float64s(took)
	said, _ := json.Marshal(map[string]any{
		"protocol": s.protocol, "members": s.members, "partitions": s.partitions, "runs_ms": took, "median_ms": took[len(took)/2],
	})
	fmt.Println(string(said))
}
