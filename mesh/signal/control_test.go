package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestControlVectors(t *testing.T) {
	for _, p := range golden(t).Control.Packets {
		t.Run(p.Name, func(t *testing.T) {
			event, payload, err := DecodeControl(p.Packet)
			if err != nil {
				t.Fatal(err)
			}
			if event != p.Event || string(payload) != p.JSON || !sameJSON(t, payload, p.Received) {
				t.Errorf("event %s, payload %s", event, payload)
			}
			again, err := EncodeControl(event, payload)
			if err != nil || !bytes.Equal(again, p.Packet) {
				t.Errorf("encoded as %x, error %v", again, err)
			}
			if event == EventChannel {
				r, err := DecodeChannelRequest(payload)
				if err != nil {
					t.Fatal(err)
				}
				again, err := EncodeChannelRequest(r)
				if err != nil || !bytes.Equal(again, p.Packet) {
					t.Errorf("request encoded as %x, error %v", again, err)
				}
			}
			if event != EventSignal {
				return
			}
			s, err := DecodeSignal(payload)
			if err != nil {
				t.Fatal(err)
			}
			checkSignal(t, s, p.Received)
			again, err = EncodeSignal(s)
			if err != nil || !bytes.Equal(again, p.Packet) {
				t.Errorf("signal encoded as %x, error %v", again, err)
			}
		})
	}
}

func TestChannelRequestRefuses(t *testing.T) {
	for _, text := range []string{
		`null`, `[]`, `"chat"`, `{}`, `{"label":null}`, `{"label":1}`, `{"label":"a","ordered":"no"}`,
		`{"label":"a","maxRetransmits":65536}`, `{"label":"a","maxPacketLifeTime":-1}`, `{"label":"a","protocol":{}}`,
	} {
		if r, err := DecodeChannelRequest(json.RawMessage(text)); err == nil {
			t.Errorf("%s is read as %+v", text, r)
		}
	}
	r, err := DecodeChannelRequest(json.RawMessage(`{"label":"","maxRetransmits":null,"more":[1]}`))
	if err != nil || r != (ChannelRequest{}) {
		t.Errorf("empty label: %+v, %v", r, err)
	}
}

// checkSignal compares a signal with the JSON array that it was read from.
func checkSignal(t *testing.T, s Signal, received json.RawMessage) {
	t.Helper()
	var elements []map[string]any
	if err := json.Unmarshal(received, &elements); err != nil {
		t.Fatal(err)
	}
	if sdp, ok := elements[0]["sdp"]; ok {
		if s.Candidate != nil || s.Description == nil || s.Description.SDP != sdp || s.Description.Type != elements[0]["type"] {
			t.Errorf("got %+v", s)
		}
	} else if s.Description != nil || s.Candidate == nil || s.Candidate.Candidate != elements[0]["candidate"] {
		t.Errorf("got %+v", s)
	}
	if (len(elements) > 1) != (s.Labels != nil) {
		t.Fatalf("labels %v", s.Labels)
	}
	for id, label := range s.Labels {
		if elements[1][id] != label {
			t.Errorf("label of %s is %s, want %v", id, label, elements[1][id])
		}
	}
}

func TestControlEdgeCases(t *testing.T) {
	for _, e := range golden(t).Control.EdgeCases {
		t.Run(e.Why, func(t *testing.T) {
			event, payload, err := DecodeControl(e.Packet)
			if e.Delivered {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted %s %s", event, payload)
			}
			if silent := e.Error == nil; silent != errors.Is(err, ErrControlIncomplete) {
				t.Errorf("error %v, to be dropped in silence: %v", err, silent)
			}
		})
	}
}

func TestDecodeSignalNamesWhatIsWrong(t *testing.T) {
	for payload, want := range map[string]string{
		`{}`:                                   "not a JSON array",
		`[]`:                                   "no description or candidate",
		`[null]`:                               "no description or candidate",
		`[1]`:                                  "no description or candidate",
		`[{}]`:                                 "neither a description nor a candidate",
		`[{"type":1}]`:                         "description or candidate: json",
		`[{"type":"rollback","sdp":"x"}]`:      `type "rollback"`,
		`[{"type":"offer"}]`:                   "without sdp",
		`[{"type":"answer"}]`:                  "without sdp",
		`[{"type":"offer","sdp":1}]`:           "description: json",
		`[{"candidate":"x","sdpMid":1}]`:       "json",
		`[{"type":"offer","sdp":"x"},[]]`:      "labels: json",
		`[{"type":"offer","sdp":"x"},{"a":1}]`: "labels: json",
	} {
		if s, err := DecodeSignal(json.RawMessage(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, error %v, want %q in it", payload, s, err, want)
		}
	}
	s, err := DecodeSignal(json.RawMessage(`[{"type":"offer","sdp":"x"},null]`))
	if err != nil || s.Labels != nil {
		t.Errorf("null labels: %+v, error %v", s, err)
	}
}

func TestEncodeSignalRefuses(t *testing.T) {
	offer, answer := &Description{"offer", "v=0"}, &Description{"answer", "v=0"}
	for name, s := range map[string]Signal{
		"nothing":                {},
		"both":                   {Description: offer, Candidate: &Candidate{}},
		"labels with answer":     {Description: answer, Labels: map[string]string{}},
		"labels with candidate":  {Candidate: &Candidate{}, Labels: map[string]string{}},
		"description of no type": {Description: &Description{SDP: "v=0"}},
		"candidate too long":     {Candidate: &Candidate{Candidate: strings.Repeat("x", 2048)}},
		"message too long":       {Description: &Description{"offer", strings.Repeat("x", MaxControl)}},
	} {
		if b, err := EncodeSignal(s); err == nil {
			t.Errorf("%s: encoded as %x", name, b)
		}
	}
	if _, err := EncodeControl(EventRoster, make(chan int)); err == nil {
		t.Error("a channel is no JSON")
	}
}

func TestEventString(t *testing.T) {
	for k, want := range []string{"event 0", "signal", "channel", "roster"} {
		if got := Event(k).String(); got != want {
			t.Errorf("%d: %s, want %s", k, got, want)
		}
	}
	if got := Event(99).String(); got != "event 99" {
		t.Errorf("99: %s", got)
	}
}

func FuzzControl(f *testing.F) {
	v := golden(f).Control
	for _, p := range v.Packets {
		f.Add([]byte(p.Packet))
	}
	for _, e := range v.EdgeCases {
		f.Add([]byte(e.Packet))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, payload, err := DecodeControl(packet)
		if err != nil {
			return
		}
		s, err := DecodeSignal(payload)
		if err != nil {
			return
		}
		if s.Description == nil || s.Description.Type != "offer" {
			s.Labels = nil // received ones are tolerated, but not sent
		}
		b, err := EncodeSignal(s)
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		_, payload, err = DecodeControl(b)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeSignal(payload); err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v became %+v, error %v", s, again, err)
		}
	})
}
