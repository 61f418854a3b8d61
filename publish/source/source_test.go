package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

func fixture(name string) string { return filepath.Join("..", "..", "testdata", name) }

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write puts b into a file of that name in a folder of the test.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// collector is a sink that keeps what it is given.
type collector struct {
	packets []publish.Packet
	onFrame func(n int) // after the n-th packet with FrameEnd
	ends    int
}

func (c *collector) WritePacket(p *publish.Packet) {
	q := *p
	q.Payload = append([]byte(nil), p.Payload...)
	c.packets = append(c.packets, q)
	if p.FrameEnd {
		c.ends++
		if c.onFrame != nil {
			c.onFrame(c.ends)
		}
	}
}

// starts returns the first packet of every timestamp.
func (c *collector) starts() (first []publish.Packet) {
	for i, p := range c.packets {
		if i == 0 || p.Timestamp != c.packets[i-1].Timestamp {
			first = append(first, p)
		}
	}
	return first
}

func collect(s Source) []*collector {
	var cs []*collector
	for _, t := range s.Tracks() {
		c := &collector{}
		t.Add(c)
		cs = append(cs, c)
	}
	return cs
}

func mustOpen(t testing.TB, cfg Config) Source {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenTellsWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		codecs []string
		fmtp   string // of the first, in part
	}{
		{"vp8", Config{Files: []string{fixture("vp8.ivf")}}, []string{codec.VP8}, ""},
		{"vp9", Config{Files: []string{fixture("vp9.ivf")}}, []string{codec.VP9}, "profile-id=0"},
		{"av1", Config{Files: []string{fixture("av1.ivf")}}, []string{codec.AV1}, "profile=0"},
		{"h264", Config{Files: []string{fixture("a.h264")}}, []string{codec.H264}, "packetization-mode=1;profile-level-id=42c0"},
		{"opus", Config{Files: []string{fixture("a.ogg")}}, []string{codec.Opus}, ""},
		{"two", Config{Files: []string{fixture("a.ogg"), fixture("vp8.ivf")}}, []string{codec.Opus, codec.VP8}, ""},
		{"nothing named", Config{}, []string{codec.VP8, codec.Opus}, ""},
		{"h264 pattern", Config{Pattern: "h264"}, []string{codec.H264, codec.Opus}, "profile-level-id=42c0"},
		{"slow pattern", Config{Pattern: "slow"}, []string{codec.VP8, codec.Opus}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tracks := mustOpen(t, c.cfg).Tracks()
			if len(tracks) != len(c.codecs) {
				t.Fatalf("%d tracks, want %d", len(tracks), len(c.codecs))
			}
			ids := map[string]bool{}
			for i, tr := range tracks {
				ids[tr.ID()] = true
				if tr.Codec().Name != c.codecs[i] || tr.Kind() != tr.Codec().Kind() {
					t.Errorf("track %d is %v %v, want %s", i, tr.Kind(), tr.Codec(), c.codecs[i])
				}
				matched := false
				for _, d := range codec.Default(tr.Kind()) {
					matched = matched || d.Matches(tr.Codec())
				}
				if !matched {
					t.Errorf("%+v matches no default codec", tr.Codec())
				}
			}
			if len(ids) != len(tracks) || !strings.Contains(tracks[0].Codec().Fmtp, c.fmtp) {
				t.Errorf("ids %v, fmtp %q", ids, tracks[0].Codec().Fmtp)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	vp8, h264, ogg := read(t, fixture("vp8.ivf")), read(t, fixture("a.h264")), read(t, fixture("a.ogg"))
	patched := func(b []byte, at int, with string) []byte {
		b = append([]byte(nil), b...)
		copy(b[at:], with)
		return b
	}
	noSPS := h264[strings.Index(string(h264), "\x00\x00\x01\x65"):]
	for _, c := range []struct {
		name, file string
		content    []byte
		want       string
		cut        bool
	}{
		{"empty ivf", "a.ivf", nil, "the IVF header is cut short", true},
		{"short ivf header", "a.ivf", vp8[:20], "at byte 0: the IVF header is cut short", true},
		{"not ivf", "a.ivf", ogg, "does not begin with DKIF", false},
		{"unknown FourCC", "a.ivf", patched(vp8, 8, "HEVC"), `holds "HEVC", which is none of`, false},
		{"wrong FourCC", "a.ivf", patched(vp8, 8, "AV01"), "does not begin with an AV1 sequence header", false},
		{"zero time base", "a.ivf", patched(vp8, 16, "\x00\x00\x00\x00"), "time base", false},
		{"small header length", "a.ivf", patched(vp8, 6, "\x08\x00"), "claims 8 bytes", false},
		{"no frame", "a.ivf", vp8[:32], "holds no frame", false},
		{"cut frame", "a.ivf", vp8[:100], "frame 0 of", true},
		{"huge frame", "a.ivf", patched(vp8, 32, "\xff\xff\xff\xff"), "frame 0 claims 4294967295 bytes", false},
		{"no keyframe", "a.ivf", patched(vp8, 44, "\x01"), "does not begin with a VP8 keyframe", false},
		{"empty h264", "a.264", nil, "does not begin with a start code", false},
		{"not h264", "a.h264", vp8, "does not begin with a start code", false},
		{"only start codes", "a.h264", []byte{0, 0, 0, 1, 0, 0, 1}, "holds no picture", false},
		{"no SPS", "a.h264", noSPS, "has no SPS", false},
		{"empty ogg", "a.ogg", nil, "holds no Opus stream", false},
		{"not ogg", "a.opus", h264, "does not begin with OggS", false},
		{"short ogg page", "a.ogg", ogg[:30], "an Ogg page is cut short", true},
		{"damaged ogg page", "a.oga", patched(ogg, 30, "x"), "checksum", false},
		{"vorbis", "a.ogg", checksummed(patched(ogg, 28, "vorbisXX")), "holds no Opus stream", false},
		{"surround", "a.ogg", checksummed(patched(ogg, 28+9, "\x06")), "has 6 channels", false},
		{"no tags", "a.ogg", ogg[:47], "ends before the Opus comment", true},
		{"wrong extension", "a.mp4", vp8, `extension ".mp4"`, false},
		{"no extension", "a", vp8, `extension ""`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.file, c.content)
			_, err := Open(Config{Files: []string{fixture("vp8.ivf"), path}})
			var fe *FileError
			if !errors.As(err, &fe) || fe.Name != path || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v, want it to name the file and say %q", err, c.want)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) != c.cut {
				t.Errorf("cut short: %v, want %v", !c.cut, c.cut)
			}
		})
	}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"missing":     {Config{Files: []string{"no/such.ivf"}}, "no/such.ivf: cannot be opened: no such file"},
		"folder":      {Config{Files: []string{t.TempDir() + "/"}}, "extension"},
		"both":        {Config{Files: []string{"a.ivf"}, Pattern: "vp8"}, "choose one"},
		"pattern":     {Config{Pattern: "tartan"}, `no test pattern "tartan"; there are h264, slow, vp8`},
		"frame rate":  {Config{FrameRate: 1000}, "frame rate 1000"},
		"no B-frames": {Config{Files: []string{write(t, "b.h264", bFrames())}}, "B-frames"},
	} {
		if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	dir := filepath.Join(t.TempDir(), "dir.ivf")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Files: []string{dir}}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

// play runs a source for that virtual time, or to its end when limit is 0.
func play(t *testing.T, s Source, limit time.Duration) error {
	t.Helper()
	ctx := t.Context()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err := s.Run(ctx)
	for _, tr := range s.Tracks() {
		if !tr.Ended() {
			t.Errorf("track %s goes on after Run", tr.ID())
		}
	}
	return err
}

func TestCutFiles(t *testing.T) {
	vp8, ogg := read(t, fixture("vp8.ivf")), read(t, fixture("a.ogg"))
	h264 := read(t, fixture("a.h264"))
	damagedPage := append([]byte(nil), ogg...)
	damagedPage[len(ogg)/2] ^= 0x55
	backwards := append([]byte(nil), vp8...)
	backwards[ivfFrameAt(vp8, 30)+4] = 3
	forbidden := append(append([]byte(nil), h264...), 0, 0, 1, 0xff, 1)
	for _, c := range []struct {
		name, file string
		content    []byte
		frames     int
		want       string
	}{
		{"ivf in a frame", "a.ivf", vp8[:ivfFrameAt(vp8, 40)+20], 40, "frame 40 of"},
		{"ivf in a frame header", "a.ivf", vp8[:ivfFrameAt(vp8, 41)+5], 41, "the header of frame 41 is cut short"},
		{"ivf between frames", "a.ivf", vp8[:ivfFrameAt(vp8, 42)], 42, ""},
		{"ivf timestamp", "a.ivf", backwards, 30, "the timestamp of frame 30 is 3 after 29"},
		{"ogg in a page", "a.ogg", ogg[:len(ogg)/2], 131, "an Ogg page is cut short"},
		{"ogg checksum", "a.ogg", damagedPage, 131, "checksum"},
		{"h264 garbage", "a.h264", forbidden, 150, "forbidden bit"},
		{"h264 cut", "a.h264", h264[:len(h264)/2], 65, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := mustOpen(t, Config{Files: []string{write(t, c.file, c.content)}})
				got := collect(s)[0]
				err := play(t, s, 0)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("Run returned %v, want %q", err, c.want)
				}
				if n := len(got.starts()); n != c.frames {
					t.Errorf("%d frames, want %d", n, c.frames)
				}
			})
		})
	}
}

func TestCutFileLoopsAndIsReportedOnce(t *testing.T) {
	vp8 := read(t, fixture("vp8.ivf"))
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		path := write(t, "cut.ivf", vp8[:ivfFrameAt(vp8, 30)+20])
		s := mustOpen(t, Config{Files: []string{path}, Loop: true, Logger: textLogger(&log)})
		got := collect(s)[0]
		if err := play(t, s, 10*time.Second-time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		if n := len(got.starts()); n != 300 {
			t.Errorf("%d frames in 10 s, want 300", n)
		}
		if st := s.Stats(); st.Loops != 10 || st.Damaged != 1 || st.Frames != 300 {
			t.Errorf("%+v", st)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), path) {
			t.Errorf("log: %s", log.String())
		}
	})
}

func TestRunTwice(t *testing.T) {
	s := mustOpen(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := s.Run(ctx); !errors.Is(err, ErrRunTwice) {
		t.Errorf("got %v", err)
	}
}

func TestFileVanishesWhileLooping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := write(t, "a.ivf", read(t, fixture("vp8.ivf")))
		s := mustOpen(t, Config{Files: []string{path}, Loop: true})
		collect(s)[0].onFrame = func(n int) {
			if n == 10 {
				_ = os.Remove(path)
			}
		}
		if err := play(t, s, time.Minute); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}
