package serve

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"time"
)

// certificate reads the pair of files, or makes a self-signed certificate when
// none is named.
func certificate(certFile, keyFile, host string, now time.Time) (tls.Certificate, error) {
	if certFile == "" {
		return selfSigned(host, now)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, fmt.Errorf("serve: --tls-cert %s, --tls-key %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}

// selfSigned makes a certificate that lives in memory only: ECDSA P-256, valid
// for a year, for every address and name that this machine knows of itself.
// Browsers warn once and then give camera and WebCrypto, which plain http from
// another machine never gets.
func selfSigned(host string, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serve: certificate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serve: certificate serial: %w", err)
	}
	names, addrs := ownNames(host)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "weft (self-signed)"},
		NotBefore:             now.Add(-time.Hour), // clocks of phones differ
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           addrs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serve: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// ownNames lists the names and addresses under which others may reach host.
func ownNames(host string) (names []string, addrs []net.IP) {
	names = []string{"localhost"}
	if name, err := os.Hostname(); err == nil && name != "" && name != "localhost" {
		names = append(names, name)
	}
	if ip := net.ParseIP(host); ip == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	addrs = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	return names, append(addrs, localAddresses()...)
}

// localAddresses lists this machine's addresses that others could use:
// IPv4 first, no loopback, no link-local.
func localAddresses() []net.IP {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var v4, v6 []net.IP
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			v4 = append(v4, n.IP)
		} else {
			v6 = append(v6, n.IP)
		}
	}
	return append(v4, v6...)
}

// fingerprint is the SHA-256 of the certificate, for people to compare with what
// their browser shows.
func fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// sniffTimeout is how long a new connection may take for its first byte. Browsers
// open spare connections; those just end and are opened again.
const sniffTimeout = 10 * time.Second

// splitter tells the two kinds of clients of one TLS port apart by their first
// byte: a TLS handshake record begins with 22 (RFC 8446 section 5.1), a request
// in plain text with a letter. secure and plain are the listeners of the two.
type splitter struct {
	inner  net.Listener
	secure *chanListener
	plain  *chanListener
	done   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// split starts accepting from inner, on a goroutine of its own plus one for each
// connection that has not sent its first byte. Close ends and joins them.
func split(inner net.Listener) *splitter {
	s := &splitter{inner: inner, done: make(chan struct{})}
	s.secure = &chanListener{s: s, conns: make(chan net.Conn)}
	s.plain = &chanListener{s: s, conns: make(chan net.Conn)}
	s.wg.Go(s.run)
	return s
}

func (s *splitter) run() {
	backoff := 5 * time.Millisecond
	for {
		conn, err := s.inner.Accept()
		if err == nil {
			backoff = 5 * time.Millisecond
			s.wg.Go(func() { s.sort(conn) })
			continue
		}
		// Out of file descriptors, or closed: the wait tells them apart.
		select {
		case <-s.done:
			return
		case <-time.After(backoff):
			backoff = min(2*backoff, time.Second)
		}
	}
}

func (s *splitter) sort(conn net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with sort: a silent client must not hold Close up
		select {
		case <-s.done:
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(sniffTimeout))
	r := bufio.NewReaderSize(conn, 16)
	first, err := r.Peek(1)
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == 22 {
		to = s.secure
	}
	select {
	case to.conns <- &peekedConn{Conn: conn, r: r}:
	case <-s.done:
		_ = conn.Close()
	}
}

// Close closes the port and waits for the goroutines. It is idempotent.
func (s *splitter) Close() error {
	var err error
	s.once.Do(func() {
		close(s.done)
		err = s.inner.Close()
	})
	s.wg.Wait()
	return err
}

// peekedConn gives back the byte that was looked at.
type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *peekedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// chanListener is one side of a splitter, as a net.Listener.
type chanListener struct {
	s     *splitter
	conns chan net.Conn
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.s.done:
		return nil, net.ErrClosed
	}
}

func (l *chanListener) Close() error   { return l.s.Close() }
func (l *chanListener) Addr() net.Addr { return l.s.inner.Addr() }
