//go:build brokers

package mqtt_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/mqtt"
)

// mosquitto is Eclipse Mosquitto with a listener of each kind on a free port of
// the loopback interface. It wants a user and a password.
type mosquitto struct {
	t     *testing.T
	dir   string
	ports [4]int // in the order of kinds
	tls   *tls.Config
	now   *exec.Cmd
	ended chan error
}

// kinds are the schemes of the listeners.
var kinds = [4]string{"mqtt", "mqtts", "ws", "wss"}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t, dir: t.TempDir()}
	m.certificate()
	out, err := exec.Command("mosquitto_passwd", "-b", "-c", m.file("passwords"), "me", "secret").CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_passwd (apt-get install mosquitto): %v\n%s", err, out)
	}
	config := "user root\nallow_anonymous false\npassword_file " + m.file("passwords") +
		"\nmax_queued_messages 0\nlog_dest stderr\nlog_type information\nlog_type error\n"
	for i, scheme := range kinds {
		m.ports[i] = freePort(t)
		config += fmt.Sprintf("listener %d 127.0.0.1\n", m.ports[i])
		if strings.HasPrefix(scheme, "ws") {
			config += "protocol websockets\n"
		}
		if strings.HasSuffix(scheme, "s") && scheme != "ws" {
			config += "certfile " + m.file("cert.pem") + "\nkeyfile " + m.file("key.pem") + "\n"
		}
	}
	if err := os.WriteFile(m.file("mosquitto.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	m.up()
	t.Cleanup(m.down)
	return m
}

func (m *mosquitto) file(name string) string { return filepath.Join(m.dir, name) }

// freePort returns a port that was free a moment ago: mosquitto takes no 0.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// certificate makes a self-signed one for 127.0.0.1.
func (m *mosquitto) certificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		m.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		m.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(m.file(name), pem.EncodeToMemory(block), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	m.tls = &tls.Config{RootCAs: x509.NewCertPool()}
	m.tls.RootCAs.AddCert(leaf)
}

// up starts it and returns when it says that it runs.
func (m *mosquitto) up() {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not in everybody's PATH
	}
	m.now, m.ended = exec.Command(path, "-c", m.file("mosquitto.conf")), make(chan error, 1)
	log, err := m.now.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.now.Start(); err != nil {
		m.t.Fatalf("mosquitto (apt-get install mosquitto): %v", err)
	}
	running := make(chan bool, 10)
	go func(cmd *exec.Cmd, ended chan<- error) {
		var all strings.Builder
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			fmt.Fprintln(&all, lines.Text())
			if strings.HasSuffix(lines.Text(), " running") {
				running <- true
			}
		}
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, all.String())
		}
		ended <- err
	}(m.now, m.ended)
	guard := time.NewTimer(30 * time.Second)
	defer guard.Stop()
	select {
	case <-running:
	case <-guard.C:
		m.t.Fatal("mosquitto does not say that it runs")
	case err := <-m.ended:
		m.now = nil
		m.t.Fatalf("mosquitto ended: %v", err)
	}
}

// down ends it and waits.
func (m *mosquitto) down() {
	if m.now == nil {
		return
	}
	_ = m.now.Process.Signal(syscall.SIGTERM)
	if err := <-m.ended; err != nil {
		m.t.Errorf("mosquitto: %v", err)
	}
	m.now = nil
}

// config is that of a driver for one kind of listener.
func (m *mosquitto) config(kind int) mqtt.Config {
	return mqtt.Config{
		URL:    fmt.Sprintf("%s://me:secret@127.0.0.1:%d", kinds[kind], m.ports[kind]),
		Prefix: "px.",
		TLS:    m.tls,
	}
}

func TestMosquitto(t *testing.T) {
	m := newMosquitto(t)
	for kind, scheme := range kinds {
		t.Run(scheme, func(t *testing.T) {
			drivertest.Run(t, func() (a, b driver.Driver) {
				return connect(t, m.config(kind)), connect(t, m.config(kind))
			})
		})
	}
}

func TestMosquittoOutage(t *testing.T) {
	for first, scheme := range kinds {
		t.Run(scheme, func(t *testing.T) {
			drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
				m := newMosquitto(t)
				return connect(t, m.config(first)), connect(t, m.config((first+1)%len(kinds))), m.down, m.up
			})
		})
	}
}

func TestMosquittoRefuses(t *testing.T) {
	m := newMosquitto(t)
	for kind, scheme := range kinds {
		for what, config := range map[string]mqtt.Config{
			"no user":        {URL: fmt.Sprintf("%s://127.0.0.1:%d", scheme, m.ports[kind]), TLS: m.tls},
			"wrong password": {URL: fmt.Sprintf("%s://me:wrong@127.0.0.1:%d", scheme, m.ports[kind]), TLS: m.tls},
		} {
			d := connect(t, config)
			if d.Active() {
				t.Errorf("%s, %s: active", scheme, what)
			}
			d.Close()
		}
	}
	for _, kind := range []int{1, 3} {
		config := m.config(kind)
		config.TLS = nil
		d := connect(t, config)
		if d.Active() {
			t.Errorf("%s: active with a certificate that nobody vouches for", kinds[kind])
		}
		d.Close()
	}
}
