package conn

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// ChannelOptions describe a data channel. The zero value is an ordered and
// reliable one with an empty label.
type ChannelOptions struct {
	// Label and Protocol have at most MaxChannelName bytes.
	Label, Protocol string
	// Unordered lets messages overtake each other.
	Unordered bool
	// MaxPacketLifeTime is how long a message is retransmitted, in milliseconds;
	// MaxRetransmits how often. Nil for both is reliable; only one may be set.
	MaxPacketLifeTime, MaxRetransmits *uint16
	// Negotiated means that both sides open the channel by themselves under the
	// stream ID, 1 to MaxChannelID. Without it ID is not used.
	Negotiated bool
	ID         uint16
}

// Framed reports whether messages on the channel are framed (WIRE 11): it is
// ordered and has no protocol.
func (o ChannelOptions) Framed() bool { return !o.Unordered && o.Protocol == "" }

// Validate returns an error that names what is wrong with the options.
func (o ChannelOptions) Validate() error {
	if err := checkName("label", o.Label); err != nil {
		return err
	}
	if err := checkName("protocol", o.Protocol); err != nil {
		return err
	}
	if o.MaxPacketLifeTime != nil && o.MaxRetransmits != nil {
		return errors.New("conn: a channel has either MaxPacketLifeTime or MaxRetransmits")
	}
	if o.Negotiated && (o.ID == 0 || o.ID > MaxChannelID) {
		return fmt.Errorf("conn: pre-negotiated channel id %d, want 1 to %d", o.ID, MaxChannelID)
	}
	return nil
}

// checkName checks a label or a protocol.
func checkName(what, name string) error {
	if len(name) > MaxChannelName {
		return fmt.Errorf("conn: channel %s of %d bytes, at most %d", what, len(name), MaxChannelName)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("conn: channel %s is not UTF-8", what)
	}
	return nil
}
