package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/pion/sctp"
)

// The data channel establishment protocol (RFC 8832 section 5): one message
// opens a channel, one says that it was understood.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|  message (3)  | channel type  |            priority           |
//	+---------------+---------------+-------------------------------+
//	|         reliability: retransmissions, or milliseconds         |
//	+-------------------------------+-------------------------------+
//	|         label length          |        protocol length        |
//	+-------------------------------+-------------------------------+
//	|                      label, then protocol                     |

const (
	dcepAck  = 2
	dcepOpen = 3

	dcepHeader = 12

	// Channel types: one of the three, and the bit.
	dcepReliable  = 0x00
	dcepRexmit    = 0x01
	dcepTimed     = 0x02
	dcepUnordered = 0x80

	dcepPriority = 256 // normal, RFC 8831 section 6.4
)

var errOpenMessage = errors.New("conn: malformed channel open message")

// encodeOpen returns the message that opens a channel.
func encodeOpen(o ChannelOptions) []byte {
	kind, value := byte(dcepReliable), uint32(0)
	switch {
	case o.MaxRetransmits != nil:
		kind, value = dcepRexmit, uint32(*o.MaxRetransmits)
	case o.MaxPacketLifeTime != nil:
		kind, value = dcepTimed, uint32(*o.MaxPacketLifeTime)
	}
	if o.Unordered {
		kind |= dcepUnordered
	}
	b := make([]byte, 0, dcepHeader+len(o.Label)+len(o.Protocol))
	b = append(b, dcepOpen, kind)
	b = binary.BigEndian.AppendUint16(b, dcepPriority)
	b = binary.BigEndian.AppendUint32(b, value)
	b = binary.BigEndian.AppendUint16(b, uint16(len(o.Label)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(o.Protocol)))
	b = append(b, o.Label...)
	return append(b, o.Protocol...)
}

// decodeOpen reads the message that opens a channel. A reliability beyond what
// fits is as good as its greatest value.
func decodeOpen(b []byte) (o ChannelOptions, err error) {
	if len(b) < dcepHeader || b[0] != dcepOpen {
		return o, errOpenMessage
	}
	value := uint16(min(binary.BigEndian.Uint32(b[4:]), math.MaxUint16))
	label := int(binary.BigEndian.Uint16(b[8:]))
	protocol := int(binary.BigEndian.Uint16(b[10:]))
	if len(b) != dcepHeader+label+protocol {
		return o, errOpenMessage
	}
	switch b[1] &^ dcepUnordered {
	case dcepReliable:
	case dcepRexmit:
		o.MaxRetransmits = &value
	case dcepTimed:
		o.MaxPacketLifeTime = &value
	default:
		return o, fmt.Errorf("%w: channel type %#x", errOpenMessage, b[1])
	}
	o.Unordered = b[1]&dcepUnordered != 0
	o.Label = string(b[dcepHeader : dcepHeader+label])
	o.Protocol = string(b[dcepHeader+label:])
	return o, nil
}

// apply makes a stream send as the options say. Before the other side has
// acknowledged the channel everything is ordered and reliable (RFC 8832 section
// 6).
func (o ChannelOptions) apply(s *sctp.Stream) {
	switch {
	case o.MaxRetransmits != nil:
		s.SetReliabilityParams(o.Unordered, sctp.ReliabilityTypeRexmit, uint32(*o.MaxRetransmits))
	case o.MaxPacketLifeTime != nil:
		s.SetReliabilityParams(o.Unordered, sctp.ReliabilityTypeTimed, uint32(*o.MaxPacketLifeTime))
	default:
		s.SetReliabilityParams(o.Unordered, sctp.ReliabilityTypeReliable, 0)
	}
}
