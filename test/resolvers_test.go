package test

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/coredns-mske/mske/internal/daemon"
)

// startProviders has our build be both providers, which collect each other's
// keys through the resolver at an address.
func (n *network) startProviders(resolver string, env ...string) {
	n.t.Helper()
	n.startCoreDNS(n.a, delegated, resolver, env...)
	n.startCoreDNS(n.b, inDomain, resolver, env...)
}

// TestExchangeThroughBIND is for rule F1: without CD, named as a resolver
// answers SERVFAIL to the DNSKEY questions.
func TestExchangeThroughBIND(t *testing.T) {
	daemon.Need(t, "named")
	n := newNetwork(t, true)
	n.startProviders(n.startBIND())
	n.awaitJoint()
}

func TestExchangeThroughRecursor(t *testing.T) {
	daemon.Need(t, "pdns_recursor")
	n := newNetwork(t, false)
	n.startProviders(n.addr(ipFetch))
	n.startRecursor(ipFetch)
	n.awaitJoint()
}

// TestExchangeThroughTLS uses unbound over TLS (RFC 7858), with a certificate
// that the system does not know but for SSL_CERT_FILE.
func TestExchangeThroughTLS(t *testing.T) {
	daemon.Need(t, "unbound", "openssl")
	n := newNetwork(t, false)
	key, certificate := filepath.Join(n.dir, "tls.key"), filepath.Join(n.dir, "tls.pem")
	run(t, n.dir, daemon.Path(t, "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=resolver", "-addext", "subjectAltName=DNS:resolver.example.net")
	port := daemon.FreePort(t)
	address := n.ip(ipFetch) + "@resolver.example.net"
	n.startProviders("tls://"+net.JoinHostPort(address, port), "SSL_CERT_FILE="+certificate)
	n.startUnbound(ipFetch, append([]string{
		"interface: " + n.ip(ipFetch) + "@" + port,
		"tls-port: " + port,
		"tls-service-key: " + key,
		"tls-service-pem: " + certificate,
	}, shortMemory...)...)
	n.awaitJoint()
}
