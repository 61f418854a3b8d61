package signal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// testSchema is the one of the protobuf vectors.
var testSchema = []field{{"u", fieldUint}, {"b", fieldBool}, {"y", fieldBytes}}

func (v protobufVector) pack() []byte {
	var b []byte
	if v.Value.U != nil {
		b = appendUint(b, 1, *v.Value.U)
	}
	if v.Value.B != nil {
		b = appendBool(b, 2, *v.Value.B)
	}
	if v.Value.Y != nil {
		b = appendBytes(b, 3, *v.Value.Y)
	}
	return b
}

func (v protobufVector) check(t *testing.T, got []value) {
	t.Helper()
	if (v.Value.U != nil) != got[0].set || (v.Value.B != nil) != got[1].set || (v.Value.Y != nil) != got[2].set {
		t.Fatalf("present fields: %+v", got)
	}
	if v.Value.U != nil && *v.Value.U != got[0].num {
		t.Errorf("u = %d, want %d", got[0].num, *v.Value.U)
	}
	if v.Value.B != nil && *v.Value.B != (got[1].num == 1) {
		t.Errorf("b = %d, want %v", got[1].num, *v.Value.B)
	}
	if v.Value.Y != nil && !bytes.Equal(*v.Value.Y, got[2].bytes) {
		t.Errorf("y = %x, want %x", got[2].bytes, *v.Value.Y)
	}
}

func TestProtobufEncode(t *testing.T) {
	for _, v := range golden(t).Protobuf.Encode {
		t.Run(fmt.Sprintf("%x", []byte(v.Bytes)), func(t *testing.T) {
			if got := v.pack(); !bytes.Equal(got, v.Bytes) {
				t.Errorf("got %x", got)
			}
			var out [3]value
			if err := unpack(v.Bytes, testSchema, out[:]); err != nil {
				t.Fatal(err)
			}
			v.check(t, out[:])
		})
	}
}

func TestProtobufDecode(t *testing.T) {
	for _, v := range golden(t).Protobuf.Decode {
		t.Run(fmt.Sprintf("%x", []byte(v.Bytes)), func(t *testing.T) {
			var out [3]value
			err := unpack(v.Bytes, testSchema, out[:])
			if v.Value == nil {
				if err == nil {
					t.Errorf("accepted as %+v", out)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v.check(t, out[:])
		})
	}
}

func TestProtobufErrorsNameTheField(t *testing.T) {
	for name, c := range map[string]struct {
		packet []byte
		want   string
	}{
		"length beyond the end": {[]byte{0x1a, 5, 1}, "field y: length 5, but 1 bytes are left"},
		"wrong wire type":       {[]byte{0x0a, 0}, "field u: wire type 2, want 0"},
		"no boolean":            {[]byte{0x10, 7}, "field b: boolean is 7"},
		"tag cut off":           {[]byte{0x80}, "field tag"},
		"value of 33 bits":      {[]byte{0x08, 0xff, 0xff, 0xff, 0xff, 0x1f}, "field u: varint"},
		"field 0":               {[]byte{0x00, 0x01}, "field number 0"},
		"unknown group":         {[]byte{0x33}, "unknown field 6: wire type 3"},
		"unknown 8 bytes":       {[]byte{0x29, 1, 2}, "unknown field 5: 8 bytes wanted, but 2 are left"},
		"unknown length":        {[]byte{0x22, 0x80}, "unknown field 4: length"},
	} {
		t.Run(name, func(t *testing.T) {
			err := unpack(c.packet, testSchema, make([]value, 3))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func FuzzProtobuf(f *testing.F) {
	v := golden(f)
	for _, c := range v.Protobuf.Encode {
		f.Add([]byte(c.Bytes))
	}
	for _, c := range v.Protobuf.Decode {
		f.Add([]byte(c.Bytes))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		var out, again [3]value
		if unpack(packet, testSchema, out[:]) != nil {
			return
		}
		var b []byte
		if out[0].set {
			b = appendUint(b, 1, out[0].num)
		}
		if out[1].set {
			b = appendBool(b, 2, out[1].num == 1)
		}
		if out[2].set {
			b = appendBytes(b, 3, out[2].bytes)
		}
		if err := unpack(b, testSchema, again[:]); err != nil {
			t.Fatalf("own bytes %x: %v", b, err)
		}
		for i := range out {
			if out[i].set != again[i].set || out[i].num != again[i].num || !bytes.Equal(out[i].bytes, again[i].bytes) {
				t.Errorf("field %d: %+v became %+v", i+1, out[i], again[i])
			}
		}
	})
}
