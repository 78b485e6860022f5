package daemon

import (
	"net"
	"testing"
)

func TestPortsOfTwoProcessesDiffer(t *testing.T) {
	a, err := takeBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.lock.Close()
	b, err := takeBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.lock.Close()
	if a.first == b.first {
		t.Errorf("both have the ports from %d on", a.first)
	}
}

func TestPortsDifferUntilAllWereUsed(t *testing.T) {
	b, err := takeBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.lock.Close()
	seen := make(map[string]bool)
	for range blockSize / 2 {
		port, err := b.next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %s twice", port)
		}
		seen[port] = true
	}
}

func TestPortInUseIsPassedOver(t *testing.T) {
	b, err := takeBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.lock.Close()
	want, err := b.next()
	if err != nil {
		t.Fatal(err)
	}
	busy, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", want))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	b.used--
	if got, err := b.next(); err != nil || got == want {
		t.Errorf("port %s (%v), which somebody has", got, err)
	}
}
