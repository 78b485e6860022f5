package test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/coredns-mske/mske/internal/daemon"
)

// exchangeThrough has two providers on our build collect each other's keys with
// the given resolver.
func exchangeThrough(n *network, resolver string, env ...string) {
	n.t.Helper()
	n.startCoreDNS(n.a, delegated, resolver, env...)
	n.startCoreDNS(n.b, inDomain, resolver, env...)
	n.awaitJoint()
}

// TestExchangeThroughBIND is for rule F1: without CD, named as a resolver
// answers SERVFAIL to the DNSKEY questions.
func TestExchangeThroughBIND(t *testing.T) {
	need(t, "named")
	n := newNetwork(t, true)
	exchangeThrough(n, n.startBIND())
}

func TestExchangeThroughRecursor(t *testing.T) {
	need(t, "pdns_recursor")
	n := newNetwork(t, false)
	n.startRecursor(ipFetch)
	exchangeThrough(n, n.addr(ipFetch))
}

// TestExchangeThroughTLS uses unbound over TLS (RFC 7858), with a certificate
// that the system does not know but for SSL_CERT_FILE.
func TestExchangeThroughTLS(t *testing.T) {
	need(t, "unbound", "openssl")
	n := newNetwork(t, false)
	key, certificate := filepath.Join(n.dir, "tls.key"), filepath.Join(n.dir, "tls.pem")
	run(t, n.dir, path(t, "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=resolver", "-addext", "subjectAltName=DNS:resolver.example.net")
	port := daemon.FreePort(t)
	n.startUnbound(ipFetch, append([]string{
		"interface: " + n.ip(ipFetch) + "@" + port,
		"tls-port: " + port,
		"tls-service-key: " + key,
		"tls-service-pem: " + certificate,
	}, shortMemory...)...)
	address := n.ip(ipFetch) + "@resolver.example.net"
	exchangeThrough(n, "tls://"+net.JoinHostPort(address, port), "SSL_CERT_FILE="+certificate)
}
