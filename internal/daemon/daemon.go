// Package daemon runs real name servers for tests: it starts a program, waits
// until it answers, stops it when the test ends, and shows its log if the test
// failed.
package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// patience is how long a server may take to do what a test waits for.
	// It is long because machines that run tests are slow at times; a test
	// that passes never waits for it.
	patience = 30 * time.Second

	// interval is how often Await looks.
	interval = 50 * time.Millisecond

	// stopTime is how long a server has to end after SIGTERM.
	stopTime = 8 * time.Second

	// answerTime is how long one answer over loopback may take.
	answerTime = 3 * time.Second

	// logTail is how much of a log is shown, in octets.
	logTail = 6000
)

// Daemon is a running program.
type Daemon struct {
	tb    testing.TB
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed once the program has ended and err is set
	err   error
}

// Start runs argv in the foreground in directory dir, with env added to the
// environment. The program is stopped at the end of the test.
func Start(tb testing.TB, name, dir string, env []string, argv ...string) *Daemon {
	tb.Helper()
	d := &Daemon{tb: tb, log: filepath.Join(tb.TempDir(), name+".log"), ended: make(chan struct{})}
	out, err := os.Create(d.log)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()

	d.cmd = exec.Command(argv[0], argv[1:]...) // #nosec G204 -- tests name the programs
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = dir, out, out
	d.cmd.Env = append(os.Environ(), env...)
	if err := d.cmd.Start(); err != nil {
		tb.Fatalf("Starting %s: %v", name, err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	tb.Cleanup(func() {
		d.Stop()
		if tb.Failed() {
			tb.Logf("End of the log of %s:\n%s", name, tail(d.Log()))
		}
	})
	return d
}

// Signal sends sig to the program.
func (d *Daemon) Signal(sig os.Signal) {
	d.tb.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.tb.Fatal(err)
	}
}

// Pid returns the program's process ID.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Kill ends the program by SIGKILL, as a power cut would.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill() // it may have ended by itself
	<-d.ended
}

// Stop ends the program by SIGTERM, or by SIGKILL if it takes too long.
func (d *Daemon) Stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-d.ended:
	case <-time.After(stopTime):
		d.Kill()
	}
}

// Log returns what the program has printed so far.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// tail returns the end of a log, from the start of a line.
func tail(log string) string {
	if len(log) <= logTail {
		return log
	}
	_, end, _ := strings.Cut(log[len(log)-logTail:], "\n")
	return end
}

// AwaitAnswer waits until the server at addr answers the question with NOERROR.
func (d *Daemon) AwaitAnswer(addr, name string, qtype uint16) {
	d.tb.Helper()
	Await(d.tb, fmt.Sprintf("%s %s at %s", name, dns.Type(qtype), addr), func() error {
		select {
		case <-d.ended:
			return fmt.Errorf("the server has ended: %w", errors.Join(d.err, errEnded))
		default:
		}
		m, err := Ask(addr, name, qtype)
		if err == nil && m.Rcode != dns.RcodeSuccess {
			err = errors.New(dns.RcodeToString[m.Rcode])
		}
		return err
	})
}

// errEnded stops Await early: what has ended will not answer.
var errEnded = errors.New("it will not come back")

// Await waits until done returns nil. The test fails with its last error if
// that takes too long.
func Await(tb testing.TB, what string, done func() error) {
	tb.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := done()
		if err == nil {
			return
		}
		if errors.Is(err, errEnded) || time.Now().After(deadline) {
			tb.Fatalf("Waited for %s: %v", what, err)
		}
		<-tick.C
	}
}

// Ask sends one question to addr, as a validating resolver's client does (RD,
// DO), over UDP, and over TCP if the answer was truncated.
func Ask(addr, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.AuthenticatedData = true
	q.SetEdns0(dns.DefaultMsgSize, true)
	client := &dns.Client{Timeout: answerTime}
	m, _, err := client.Exchange(q, addr)
	if err == nil && m.Truncated {
		client.Net = "tcp"
		m, _, err = client.Exchange(q, addr)
	}
	return m, err
}
